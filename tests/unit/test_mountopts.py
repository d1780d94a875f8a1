"""The options of ``cosfs mount``."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from cosfs.errors import ConfigError
from cosfs.mountopts import MountOptions, Source, describe, parse_options


def parse(*groups: str) -> MountOptions:
    return parse_options(groups, uid=1001, gid=1002)


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("demo", "demo", ""),
        ("demo:", "demo", ""),
        ("demo:/", "demo", ""),
        ("demo:/a/b", "demo", "a/b"),
        ("demo:/a b/", "demo", "a b"),
    ],
)
def test_source(text: str, bucket: str, prefix: str) -> None:
    assert Source.parse(text) == Source(bucket, prefix)


@pytest.mark.parametrize("text", ["", "Demo", "demo:a", "demo:/a//b", "demo:/../x", "demo/a"])
def test_source_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError):
        Source.parse(text)


def test_defaults() -> None:
    options = parse()
    assert (options.view.uid, options.view.gid, options.view.umask) == (1001, 1002, 0o022)
    assert options.cache.ttl_s == 60 and options.network.timeout_s == 60
    assert options.names == "portable" and options.log_level == "info"
    assert not (options.allow_other or options.nonempty or options.view.read_only)
    assert options.kernel_flags == () and options.account == {} and options.log_file is None


def test_values() -> None:
    options = parse(
        "appid=125,region=gz,endpoint=http://h:1,download_endpoint=http://h:2,passwd_file=/p",
        "ttl=0.5,timeout=5,uid=0,gid=0,umask=027,names=raw,memory=64,parallel=100",
        "log_file=/var/log/x,log_level=debug,allow_other,nonempty",
    )
    assert options.account == {
        "appid": "125",
        "region": "gz",
        "endpoint": "http://h:1",
        "download_endpoint": "http://h:2",
        "passwd_file": "/p",
    }
    assert options.cache.ttl_s == 0.5 and options.network.timeout_s == 5
    assert (options.view.uid, options.view.gid, options.view.umask) == (0, 0, 0o027)
    assert options.names == "raw" and options.data.memory_bytes == 64 << 20
    # Connections that are not kept are made anew for each request.
    assert options.data.parallel == 100 and options.network.pool_size >= 100
    assert options.log_file == Path("/var/log/x") and options.log_level == "debug"
    assert options.allow_other and options.nonempty


@pytest.mark.parametrize(
    ("text", "size"),
    [("1T", 1 << 40), ("500g", 500 << 30), ("1M", 1 << 20), ("7E", 7 << 60), ("1048576", 1 << 20)],
)
def test_size(text: str, size: int) -> None:
    assert parse(f"size={text}").view.size_bytes == size


def test_a_mount_tells_its_options_as_they_are_given() -> None:
    text = "ttl=5,attrs=all,memory=64,parallel=3,excl=open,overwrite=always"
    text += ",content_type=auto,log_level=debug,cache_dir=/c,cache_size=2097152"
    text += ",writeback=sync,writeback_size=2097152,writeback_delay=0.5"
    given = f"{text},appid=125,timeout=7,uid=1,gid=2,umask=027,names=raw,log_file=/x,size=1048576"
    told = describe(parse(given, "ro,nonempty,allow_other"))
    flags = {name for name, value in told.items() if value is True}
    assert flags == {"ro", "nonempty", "allow_other"}
    values = {name: value for name, value in told.items() if name not in flags}
    again = parse(",".join(f"{name}={value}" for name, value in values.items()), ",".join(flags))
    assert describe(again) == told
    assert {item.partition("=")[0] for item in given.split(",")} == set(values)


def test_names_of_users_and_groups() -> None:
    options = parse("uid=root,gid=root")
    assert (options.view.uid, options.view.gid) == (pwd.getpwnam("root").pw_uid, 0)


def test_a_relative_log_file_is_made_absolute() -> None:
    assert parse("log_file=x.log").log_file == Path.cwd() / "x.log"


def test_a_comma_in_a_value() -> None:
    assert parse("log_file=/a\\,b,ttl=1").log_file == Path("/a,b")


def test_later_ones_win() -> None:
    options = parse("ro,nosuid,ttl=1", "rw,suid,ttl=2")
    assert options.kernel_flags == ("rw", "suid")
    assert not options.view.read_only and options.cache.ttl_s == 2


def test_read_only_is_known_to_the_kernel_and_the_file_system() -> None:
    options = parse("ro")
    assert options.kernel_flags == ("ro",) and options.view.read_only


def test_what_fstab_passes() -> None:
    fstab = (
        "defaults,_netdev,nosuid,nodev,noexec,noatime,relatime,auto,noauto,user,users,nofail,"
        "async,x-systemd.automount,x-systemd.mount-timeout=30,comment=mine,rw"
    )
    flags = parse(fstab).kernel_flags
    assert flags == ("rw", "nosuid", "nodev", "noexec", "noatime", "async")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tll=3", "did you mean ttl?"),
        ("time_out=3", "did you mean timeout?"),
        ("allow-other", "did you mean allow_other?"),
        ("qqqq", "there are: "),
        ("ttl", "needs a value"),
        ("ro=1", "takes no value"),
        ("ttl=soon", "ttl=soon: give a number of seconds"),
        ("ttl=-1", "0 or more"),
        ("ttl=nan", "0 or more"),
        ("ttl=inf", "0 or more"),
        ("timeout=0", "1 or more"),
        ("memory=1", "16 or more"),
        ("memory=1.5", "16 or more"),
        ("parallel=0", "from 1 to 128"),
        ("umask=9", "octal"),
        ("umask=7777", "octal"),
        ("umask=", "octal"),
        ("uid=no-such-user-here", "no user of this name"),
        ("gid=4294967295", "no group can have this number"),
        ("names=odd", "portable, raw"),
        ("content_type=guess", "auto, off"),
        ("size=0", "500G, 1T"),
        ("size=1K", "1M or more"),
        ("size=lots", "500G, 1T"),
        ("size=1TB", "500G, 1T"),
        ("size=1.5T", "500G, 1T"),
        ("size=8E", "500G, 1T"),
        ("size=\u0661T", "500G, 1T"),
        ("log_level=loud", "debug, info, warning, error"),
        ("log_file=", "name of a file"),
    ],
)
def test_what_cannot_be_is_said(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["secret_key", "secret_id", "password", "SecretKey"])
def test_a_secret_is_no_option_and_is_not_repeated(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"{name}=HUSHHUSH")
    assert "COSFS_SECRET_KEY" in str(caught.value)
    assert "HUSH" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode"), [("", "off"), ("writeback", "on"), ("writeback=sync", "sync")]
)
def test_write_back_takes_a_value_or_none(text: str, mode: str) -> None:
    assert parse(text).data.write_back.mode == mode
    with pytest.raises(ConfigError, match="writeback=never"):
        parse("writeback=never")
