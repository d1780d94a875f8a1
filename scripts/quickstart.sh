#!/bin/sh
# Mount the bucket "demo" of a local COS server: scripts/quickstart.sh [MOUNTPOINT]
# Everything that is missing is installed; running it again is fine.
set -eu
point=$(realpath -m "${1:-$HOME/cosfs}")
. "$(dirname "$0")/setup.sh"
need_system libfuse2 fuse3 attr
need_python server

cosfs=$PWD/.venv/bin/cosfs
place=${XDG_DATA_HOME:-$HOME/.local/share}/cosfs-quickstart
export no_proxy="127.0.0.1,${no_proxy:-}"

stats() {
    .venv/bin/python -c '
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1] + "/_server/stats", timeout=5).read().decode())
' "$COSFS_ENDPOINT"
}

# The server keeps its port from one time to the next if it can, so that mounts find it again.
start_server() {
    port=${COSFS_ENDPOINT##*:}
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        # Before it starts: what the last one said must not be taken for its words.
        : >"$place/server.log"
        nohup "$cosfs" serve --data "$place/data" --port "${port:-0}" --bucket demo \
            >>"$place/server.log" 2>&1 </dev/null &
        echo $! >"$place/server.pid"
        while kill -0 $! 2>/dev/null; do
            if grep -q '^export COSFS_DOWNLOAD_ENDPOINT' "$place/server.log"; then
                grep '^export COSFS_' "$place/server.log" >"$place/env"
                . "$place/env"
                return
            fi
            sleep 0.1
        done
        # Either the port is taken by now, or a server that was told to stop has not ended yet.
        grep -q 'data folder' "$place/server.log" || port=0
        sleep 1
    done
    cat "$place/server.log" >&2
    fail "the server does not start"
}

show() {
    echo "\$ $*"
    "$@"
}

(umask 077 && mkdir -p "$place" && touch "$place/env" "$place/server.log")
unset COSFS_APPID COSFS_SECRET_ID COSFS_SECRET_KEY COSFS_DOWNLOAD_ENDPOINT
COSFS_ENDPOINT=
. "$place/env"
stats >/dev/null 2>&1 || start_server

if findmnt -n -t fuse.cosfs "$point" >/dev/null && ! ls "$point" >/dev/null 2>&1; then
    "$cosfs" umount "$point"
fi
if ! findmnt -n -t fuse.cosfs "$point" >/dev/null; then
    mkdir -p "$point"
    show "$cosfs" mount demo "$point"
fi

show cp -r README.md cosfs/docs "$point/"
show ls -l "$point"
show setfattr -n user.x-cos-meta-owner -v "$(id -un)" "$point/README.md"
show getfattr -d --absolute-names "$point/README.md"
echo "the server has counted:"
stats

cat <<END

The bucket demo is mounted on $point and stays so.
  unmount:          $cosfs umount $point
  stop the server:  kill $(cat "$place/server.pid")
  both again:       scripts/quickstart.sh $point
The data is in $place/data.
For other commands on this server:  . $place/env
END
