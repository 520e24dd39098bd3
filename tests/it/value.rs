//! The values that specs and flags share: what is read, and what is refused.

use std::time::Duration;

use sbx::spec::{Capability, HostPath, ImagePath, ReportTarget, RootfsSource, Who, value, value_rootfs};
use sbx::units::{Bytes, MilliCores};

#[test]
fn sizes() {
    let read = [("0", 0), ("512", 512), ("1k", 1 << 10), ("64K", 64 << 10), ("1.5M", 3 << 19), ("2MiB", 2 << 20)];
    for (text, bytes) in read.into_iter().chain([("3MB", 3 << 20), ("1G", 1 << 30), ("2t", 2 << 40), ("7B", 7)]) {
        assert_eq!(value::size(text), Ok(Bytes(bytes)), "{text}");
    }
    for text in
        ["", "M", "-1", "+1", "1 M", "1_000", "1e3", "0x10", "1P", "1.M", ".5M", "1MM", "1Mi", "1iB", "9999999T"]
    {
        assert!(value::size(text).is_err(), "{text}");
    }
    assert!(value::size("8388608T").unwrap_err().contains("too large"), "2^63");
}

#[test]
fn times() {
    let milliseconds = [("500ms", 500), ("10s", 10_000), ("2m30s", 150_000), ("1h", 3_600_000), ("1d", 86_400_000)];
    for (text, expected) in milliseconds {
        assert_eq!(value::time(text), Ok(Duration::from_millis(expected)), "{text}");
    }
    for text in ["", "5", "5 ", "s", "-1s", "1M", "1month", "1y", "1.5", "1sec1", "10S", "99999999999999w"] {
        assert!(value::time(text).is_err(), "{text}");
    }
    assert_eq!(value::time("0s"), Ok(Duration::ZERO));
    assert!(value::positive_time("0ms").is_err());
    assert_eq!(value::offset("-1h"), Ok(-3_600_000_000_000));
    assert_eq!(value::offset("+2s"), Ok(2_000_000_000));
    assert!(value::offset("--1h").is_err() && value::offset("1").is_err());
}

#[test]
fn rates() {
    assert_eq!(value::rate("10M"), Ok(10 << 20));
    assert_eq!(value::rate("10MB/s"), Ok(10 << 20));
    assert_eq!(value::rate("512KiB/s"), Ok(512 << 10));
    for text in ["10", "10/s", "0M", "M/s", "10M/m", ""] {
        assert!(value::rate(text).is_err(), "{text}");
    }
}

#[test]
fn processors() {
    assert_eq!(value::cores("1.5"), Ok(MilliCores(1500)));
    assert_eq!(value::cores("150%"), Ok(MilliCores(1500)));
    assert_eq!(value::cores("0.01"), Ok(MilliCores(10)));
    for text in ["", "0", "-1", "1e3", "inf", "nan", "%", "0.001", "9000", "1,5"] {
        assert!(value::cores(text).is_err(), "{text}");
    }
    for text in ["0", "0-3,7", "8191", "1,1"] {
        assert_eq!(value::cpuset(text).as_deref(), Ok(text));
    }
    for text in ["", "-", "3-1", "8192", "0-", "a", "0,", "0--1", " 1"] {
        assert!(value::cpuset(text).is_err(), "{text}");
    }
}

#[test]
fn names_and_modes() {
    assert_eq!(value::mode("0644"), Ok(0o644));
    assert_eq!(value::mode("1777"), Ok(0o1777));
    assert_eq!(value::mode("755"), Ok(0o755));
    for text in ["", "4755", "2755", "8", "0o644", "00644", "+644", "64"] {
        assert!(value::mode(text).is_err(), "{text}");
    }
    for text in ["ci", "a.b-c.9", &"a".repeat(63)] {
        assert!(value::hostname(text).is_ok(), "{text}");
    }
    for text in ["", "-a", "a-", "a..b", "a_b", ".a", "a b", &"a".repeat(64), &"a.".repeat(40)] {
        assert!(value::hostname(text).is_err(), "{text}");
    }
    assert!(value::volume_name("cache-1.2_x").is_ok());
    for text in ["", ".hidden", "../up", "a/b", "a..b", "-x", &"a".repeat(129)] {
        assert!(value::volume_name(text).is_err(), "{text}");
    }
}

#[test]
fn users() {
    assert_eq!(value::user_name("root"), Ok(Who::Root));
    assert_eq!(value::user_name("caller"), Ok(Who::Caller));
    assert_eq!(value::user_name("www-data"), Ok(Who::Name("www-data".to_owned())));
    for text in ["", "0", "1000", "a:b", "a/b", "-a", "9a"] {
        assert!(value::user_name(text).is_err(), "{text}");
    }
}

#[test]
fn sources_and_targets() {
    let path = |text: &str| HostPath(text.to_owned());
    assert_eq!(value_rootfs::rootfs_source("host"), Ok(RootfsSource::Host));
    assert_eq!(value_rootfs::rootfs_source("./host"), Ok(RootfsSource::Path(path("./host"))));
    assert_eq!(value_rootfs::rootfs_source("dir:host"), Ok(RootfsSource::Directory(path("host"))));
    assert_eq!(value_rootfs::rootfs_source("tar:a.tar"), Ok(RootfsSource::Tar(path("a.tar"))));
    let image = |text: &str, tag: Option<&str>| ImagePath { path: path(text), tag: tag.map(str::to_owned) };
    assert_eq!(value_rootfs::rootfs_source("oci:x"), Ok(RootfsSource::OciLayout(image("x", None))));
    assert_eq!(value_rootfs::rootfs_source("oci-archive:x:1"), Ok(RootfsSource::OciArchive(image("x", Some("1")))));
    let named = RootfsSource::DockerArchive(image("../a.tar", Some("app:1.0")));
    assert_eq!(value_rootfs::rootfs_source("docker-archive:../a.tar:app:1.0"), Ok(named));
    let registry = RootfsSource::Registry("localhost:5000/app:1".to_owned());
    assert_eq!(value_rootfs::rootfs_source("docker://localhost:5000/app:1"), Ok(registry));
    for text in ["", "dir:", "tar:", "oci:", "oci:x:", "oci-archive::1", "docker-archive:", "docker://", "a\nb"] {
        assert!(value_rootfs::rootfs_source(text).is_err(), "{text}");
    }
    for text in ["host", "dir:/a", "tar:a", "oci:a:1", "oci-archive:a", "docker-archive:a:b:c", "docker://h/n@x"] {
        assert_eq!(value_rootfs::rootfs_source(text).map(|it| it.as_written()), Ok(text.to_owned()));
    }
    for text in ["linux/amd64", "linux/arm64/v8"] {
        assert_eq!(value_rootfs::platform(text), Ok(text.to_owned()));
    }
    for text in ["", "linux", "linux/", "windows/amd64", "linux/arm/v7/x", "linux/../x", "amd64"] {
        assert!(value_rootfs::platform(text).is_err(), "{text}");
    }
    assert_eq!(value::report_target("fd:3"), Ok(ReportTarget::Fd(3)));
    assert_eq!(value::report_target("out.json"), Ok(ReportTarget::File(path("out.json"))));
    for text in ["", "fd:", "fd:0", "fd:-1", "fd:+3", "fd:99999999999"] {
        assert!(value::report_target(text).is_err(), "{text}");
    }
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(value::digest(&format!("sha256:{digest}")), Ok(digest.clone()));
    for text in [digest.clone(), format!("sha256:{}", digest.to_uppercase()), format!("sha256:{digest}0")] {
        assert!(value::digest(&text).is_err(), "{text}");
    }
}

#[test]
fn paths_inside() {
    assert_eq!(value::mount_point("/a//b/.").map(|it| it.to_string()).as_deref(), Ok("/a/b"));
    for text in ["", "a", "/", "/.", "/a/..", "/a\nb", "/a\0b"] {
        assert!(value::mount_point(text).is_err(), "{text:?}");
    }
    assert!(value::device_path("/dev/kvm").is_ok());
    for text in ["/dev", "/devious", "/etc/passwd", "dev/null"] {
        assert!(value::device_path(text).is_err(), "{text}");
    }
}

#[test]
fn capabilities_have_the_numbers_of_the_kernel() {
    let number = |name: &str| Capability::all().find(|it| it.name == name).map(|it| it.number);
    assert_eq!(Capability::all().count(), 41);
    assert_eq!(number("CHOWN"), Some(0));
    assert_eq!(number("NET_ADMIN"), Some(12));
    assert_eq!(number("SYS_ADMIN"), Some(21));
    assert_eq!(number("SYSLOG"), Some(34));
    assert_eq!(number("CHECKPOINT_RESTORE"), Some(40));
}
