"""Random programs on a mount with bad luck, held against what POSIX says, step by step.

From below:

* ``model``: files, folders and open descriptions as POSIX has them. Knows no cache and no store.
* ``kernel`` (with ``lookups``, ``processes``): what Linux and libfuse make of a system call.
* ``faults``: a store whose requests fail, lose their answers, or kill the mount, as told.
* ``behind``: a store that makes changes later, where the calling thread makes them.
* ``bench``: one mount on one store with its programs; picks what the numbers of a step mean.
* ``allowed``: all in which a mount may differ from a local disk.
* ``checks``: compares mount and store with the model.
* ``outcomes``: a call has ended; lets the model agree with what it may have done.
* ``names``, ``files``, ``events``: what can happen, one method each.
* ``world``: all of it together; ``rules``: how often what happens, with which arguments.

A step has small numbers as arguments: which path, which descriptor, which flags; what they mean
depends on what is there. So every sequence of steps is possible, and what is left after steps are
taken away still means something.

Everything runs in the calling thread and on a clock that stands still, so a sequence always has the
same end. What threads do to each other is tested elsewhere.
"""
