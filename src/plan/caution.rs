//! What a spec says that is allowed and rarely meant. It judges names alone: no file is
//! looked at, and nothing is refused.

use std::path::Path;

use crate::spec::{Mount, Spec};
use crate::units::Spanned;

/// How the path of a socket ends on which a program listens that acts for whoever connects, and which that is.
const SOCKETS: [(&str, &str); 17] = [
    ("docker.sock", "Docker"),
    ("podman.sock", "Podman"),
    ("containerd.sock", "containerd"),
    ("crio.sock", "CRI-O"),
    ("buildkitd.sock", "BuildKit"),
    ("libvirt-sock", "libvirt"),
    ("snapd.socket", "snapd"),
    ("system_bus_socket", "D-Bus"),
    ("systemd/private", "systemd"),
    (".X11-unix", "X11"),
    (".ICE-unix", "the X session"),
    ("S.gpg-agent", "gpg-agent"),
    ("S.gpg-agent.ssh", "gpg-agent"),
    ("keyring/ssh", "the ssh agent"),
    ("ssh-agent.socket", "the ssh agent"),
    ("pulse/native", "PulseAudio"),
    ("nscd/socket", "nscd"),
];

/// Directories in which many of them lie.
const DIRECTORIES: [&str; 6] = ["/", "/run", "/var/run", "/tmp", "/run/user", "/run/dbus"];

/// Returns what to know of the mounts of `spec` that give away more than files.
#[must_use]
pub fn cautions(spec: &Spec) -> Vec<Spanned<String>> {
    let caution = |mount: &Spanned<Mount>| {
        let Mount::Bind(bind) = &mount.value else { return None };
        let source = bind.source.0.as_str();
        let listener = listener(source.as_ref())?;
        let text = format!(
            "`{source}` leads to {listener}, which acts outside of the sandbox for whoever connects; that a `bind` is \
             read-only does not prevent it"
        );
        Some(Spanned::new(text, mount.origin))
    };
    spec.mounts.iter().filter_map(caution).collect()
}

/// Returns who listens on the socket that by its name is `path`.
fn listener(path: &Path) -> Option<&'static str> {
    if let Some((_, listener)) = SOCKETS.iter().find(|(end, _)| path.ends_with(end)) {
        return Some(listener);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let parent = path.parent().unwrap_or(path);
    let of_a_session = parent.starts_with("/run/user") && parent.components().count() == 4;
    let of_ssh = parent.to_str().is_some_and(|it| it.starts_with("/tmp/ssh-"));
    match name {
        "bus" if of_a_session => Some("D-Bus"),
        _ if name.starts_with("wayland-") => Some("Wayland"),
        _ if name.starts_with("pipewire-") => Some("PipeWire"),
        _ if name.starts_with("agent.") && of_ssh => Some("the ssh agent"),
        _ if parent == Path::new("/run/user") || DIRECTORIES.iter().any(|it| path == Path::new(it)) => {
            Some("whatever listens there")
        }
        _ => None,
    }
}
