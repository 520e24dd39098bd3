//! Reads the words of `rootfs`: what the text means, or what is wrong with it.

use crate::spec::value::host_path;
use crate::spec::{ImagePath, RootfsSource};

/// Reads the source of a root: `host`, `scratch`, or a path with or without `dir:` or `tar:`.
///
/// # Errors
/// What is wrong with `text`.
pub fn rootfs_source(text: &str) -> Result<RootfsSource, String> {
    // The words of containers-transports(5).
    let transport = ["dir:", "tar:", "oci:", "oci-archive:", "docker-archive:", "docker://"]
        .into_iter()
        .find_map(|prefix| text.strip_prefix(prefix).map(|rest| (prefix, rest)));
    match (text, transport) {
        ("host", _) => Ok(RootfsSource::Host),
        ("scratch", _) => Ok(RootfsSource::Scratch),
        (_, Some(("dir:", path))) => host_path(path).map(RootfsSource::Directory),
        (_, Some(("tar:", path))) => host_path(path).map(RootfsSource::Tar),
        (_, Some(("oci:", rest))) => image_path(rest).map(RootfsSource::OciLayout),
        (_, Some(("oci-archive:", rest))) => image_path(rest).map(RootfsSource::OciArchive),
        (_, Some(("docker-archive:", rest))) => image_path(rest).map(RootfsSource::DockerArchive),
        (_, Some((_, ""))) => Err("there is no name after `docker://`".to_owned()),
        (_, Some((_, reference))) => Ok(RootfsSource::Registry(reference.to_owned())),
        (_, None) => host_path(text).map(RootfsSource::Path),
    }
}

/// The path ends at the first colon, as in containers-transports(5); what follows says which image.
fn image_path(text: &str) -> Result<ImagePath, String> {
    match text.split_once(':') {
        Some((_, "")) => Err("there is no tag after the last `:`".to_owned()),
        Some((path, tag)) => host_path(path).map(|path| ImagePath { path, tag: Some(tag.to_owned()) }),
        None => host_path(text).map(|path| ImagePath { path, tag: None }),
    }
}

/// Reads `OS/ARCHITECTURE[/VARIANT]` in Go's names, as the image specification has them.
///
/// # Errors
/// What is wrong with `text`.
pub fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match parts.as_slice() {
        ["linux", rest @ ..] if (1..=2).contains(&rest.len()) && rest.iter().all(plain) => Ok(text.to_owned()),
        [os, _, ..] if *os != "linux" => Err(format!("the system of the platform `{text}` is not `linux`")),
        _ => Err(format!("`{text}` is not a platform")),
    }
}
