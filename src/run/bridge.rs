//! A sandbox's place on a bridge that it shares with others. The bridge is in a network namespace in which nobody
//! runs, so that no frame of a sandbox reaches the host, and which is gone with the last sbx that holds it open. Who
//! is on it stands in files that each sbx holds a lock on: what nobody holds is left behind, and removed by the next.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::plan::network::Bridge;
use crate::run::links;
use crate::sys::process::{self, Pid};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, entry, net};

/// Where the bridges have their directories. Only root has bridges.
const PLACE: &str = "/run/sbx/bridge";

/// What the addresses of a bridge share if nobody has said one: the first sandbox decides.
const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 88, 0, 0), 24);

/// The bridge in its own network.
const NAME: &str = "bridge";

/// A place on a bridge.
#[derive(Debug)]
pub struct Member {
    pub address: (Ipv4Addr, u8),
    directory: PathBuf,
    entry: PathBuf,
    /// Held for the life of the run.
    _held: File,
    network: Network,
}

/// The network in which the bridge is.
#[derive(Debug)]
struct Network {
    namespace: File,
    /// To speak to its interfaces.
    socket: OwnedFd,
}

/// Another sandbox on the bridge.
#[derive(Debug)]
pub struct Neighbour {
    pub address: (Ipv4Addr, u8),
    pub name: String,
    /// Where its sbx has the network open: number of the process and of the descriptor.
    network: (u32, u32),
}

fn failed(what: &str, bridge: &str, source: &std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} the bridge `{bridge}`"), source).with_kind(Kind::Host)
}

impl Member {
    /// Takes a place: the address that the plan names, or a free one.
    ///
    /// # Errors
    /// An address that another sandbox has, or that is not of the bridge; what the kernel does not give.
    pub fn join(bridge: &Bridge) -> Result<Self> {
        let name = &bridge.name;
        let directory = Path::new(PLACE).join(name);
        let lock = entered(&directory).map_err(|source| failed("keep a list of who is on", name, &source))?;
        let joined = Self::joined(bridge, &directory);
        if joined.is_err() {
            std::fs::remove_file(directory.join(NEW)).ok();
            // With others on the bridge it is not empty.
            std::fs::remove_dir(&directory).ok();
        }
        drop(lock);
        joined
    }

    /// The same, with the directory locked.
    fn joined(bridge: &Bridge, directory: &Path) -> Result<Self> {
        let name = &bridge.name;
        let neighbours = swept(directory);
        let address = choose(bridge, &neighbours)?;
        let network = match neighbours.iter().find_map(network_of) {
            Some(network) => network,
            None => new_network().map_err(|errno| failed("make", name, &errno.into()))?,
        };
        let entry = directory.join(format!("{}_{}", address.0, address.1));
        let held = written(&entry, &network.namespace, &bridge.hostname)
            .map_err(|source| failed("write down who is on", name, &source))?;
        Ok(Self { address, directory: directory.to_owned(), entry, _held: held, network })
    }

    /// Connects the network of `child` to the bridge.
    ///
    /// # Errors
    /// The errno of the kernel.
    pub fn connect(&self, child: Pid) -> Sys<()> {
        let socket = number(&self.network.socket);
        let index = net::interface(socket, NAME)?;
        let port = format!("sbx{}", child.0);
        let messages = links::pair(&port, index, child.0.unsigned_abs());
        net::ask(socket, &messages.bytes)
    }

    /// Returns where the others are found.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Member {
    /// Gives the place up, however far the run came; the kernel has removed the interfaces with the sandbox.
    fn drop(&mut self) {
        left(&self.directory, &self.entry);
    }
}

/// Removes what killed runs left of bridges; returns the bridges that were nobody's.
#[must_use]
pub fn collect() -> Vec<PathBuf> {
    let places = std::fs::read_dir(PLACE).into_iter().flatten().flatten().map(|found| found.path());
    let gone = |place: &PathBuf| {
        let lock = locked(place);
        lock.is_ok() && swept(place).is_empty() && std::fs::remove_dir(place).is_ok()
    };
    places.filter(gone).collect()
}

/// Returns who is there. It changes nothing, so it can be asked while others come and go.
#[must_use]
pub fn neighbours(directory: &Path) -> Vec<Neighbour> {
    entries(directory).into_iter().filter_map(|(_, neighbour)| neighbour).collect()
}

/// The same, with the directory locked: an entry that nobody holds is removed.
fn swept(directory: &Path) -> Vec<Neighbour> {
    let (held, left): (Vec<_>, Vec<_>) = entries(directory).into_iter().partition(|(_, held)| held.is_some());
    left.iter().for_each(|(path, _)| drop(std::fs::remove_file(path)));
    std::fs::remove_file(directory.join(NEW)).ok();
    held.into_iter().filter_map(|(_, neighbour)| neighbour).collect()
}

/// Returns the entries, with who holds each, if somebody does.
fn entries(directory: &Path) -> Vec<(PathBuf, Option<Neighbour>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        // Its maker is about to lock it.
        if entry.file_name() == NEW {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        // Shared, so that those who look do not take each other for who holds it.
        if file.try_lock_shared().is_ok() {
            found.push((path, None));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(neighbour) = neighbour(&entry.file_name().to_string_lossy(), &text) {
            found.push((path, Some(neighbour)));
        }
    }
    found
}

/// Makes the directory of a bridge where there is none, and locks it: only who has done so comes or goes.
fn entered(directory: &Path) -> std::io::Result<File> {
    loop {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        match made.and_then(|()| locked(directory)) {
            // The last one there has just gone, or goes while it is seen to be there.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error)
                if error.kind() == ErrorKind::AlreadyExists
                    && std::fs::symlink_metadata(directory).map_or(true, |found| found.is_dir()) => {}
            other => return other,
        }
    }
}

/// Locks the directory; NotFound if it is not there any more when that is done.
fn locked(directory: &Path) -> std::io::Result<File> {
    let lock = File::open(directory)?;
    lock.lock()?;
    let (own, there) = (lock.metadata()?, std::fs::metadata(directory)?);
    let same = (own.dev(), own.ino()) == (there.dev(), there.ino());
    if same { Ok(lock) } else { Err(ErrorKind::NotFound.into()) }
}

/// Removes an entry, and the directory with the last one.
fn left(directory: &Path, entry: &Path) {
    // Where it cannot be locked the entry stays, as that of a killed run does.
    if let Ok(_lock) = locked(directory) {
        std::fs::remove_file(entry).ok();
        std::fs::remove_dir(directory).ok();
    }
}

/// Reads `10.88.0.2_24` and `PID FD NAME`.
fn neighbour(file: &str, text: &str) -> Option<Neighbour> {
    let (address, prefix) = file.split_once('_')?;
    let mut words = text.split_whitespace();
    let network = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Neighbour { address: (address.parse().ok()?, prefix.parse().ok()?), name: words.next()?.to_owned(), network })
}

fn written(entry: &Path, network: &File, hostname: &str) -> std::io::Result<File> {
    // It is whole and held before others see it under its name.
    let new = entry.with_file_name(NEW);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.try_lock()?;
    writeln!(file, "{} {} {hostname}", process::own_pid().0, entry::number(network).0)?;
    std::fs::rename(&new, entry)?;
    Ok(file)
}

fn choose(bridge: &Bridge, neighbours: &[Neighbour]) -> Result<(Ipv4Addr, u8)> {
    let block = |(address, prefix): (Ipv4Addr, u8)| u32::from(address) & !(u32::MAX >> prefix);
    let taken = |address: Ipv4Addr| neighbours.iter().any(|neighbour| neighbour.address.0 == address);
    let wrong = |message: String, hint: &str| Err(Error::new(Kind::Spec, message).with_hint(hint).at(bridge.origin));
    let there = neighbours.first().map(|neighbour| neighbour.address);
    let Some((IpAddr::V4(address), prefix)) = bridge.address else {
        let (first, prefix) = there.unwrap_or(DEFAULT);
        let first = block((first, prefix));
        let free = (1..u32::MAX >> prefix).map(|host| Ipv4Addr::from(first | host)).find(|address| !taken(*address));
        return match free {
            Some(address) => Ok((address, prefix)),
            None => wrong(format!("no address of the bridge `{}` is free", bridge.name), "use another bridge"),
        };
    };
    if taken(address) {
        let message = format!("`{address}` is the address of another sandbox on the bridge `{}`", bridge.name);
        return wrong(message, "leave `address` out, and a free one is picked");
    }
    match there {
        Some(there) if there.1 != prefix || block(there) != block((address, prefix)) => wrong(
            format!(
                "`{address}/{prefix}` is not of the bridge `{}`, on which there is `{}/{}`",
                bridge.name, there.0, there.1
            ),
            "leave `address` out, and a free one is picked",
        ),
        _ => Ok((address, prefix)),
    }
}

/// Opens the network in which a neighbour has the bridge.
fn network_of(neighbour: &Neighbour) -> Option<Network> {
    let (process, descriptor) = neighbour.network;
    let namespace = File::open(format!("/proc/{process}/fd/{descriptor}")).ok()?;
    let socket = within(&namespace, socket).ok()?;
    // The number of a process may be another's by now: this is asked of the kernel, not believed.
    net::interface(number(&socket), NAME).ok()?;
    Some(Network { namespace, socket })
}

/// Returns a new network with a bridge in it.
fn new_network() -> Sys<Network> {
    let own_network = File::open(OWN).map_err(|_| Errno::ENOENT)?;
    process::unshare(libc::CLONE_NEWNET.unsigned_abs().into())?;
    let made = socket().and_then(|socket| {
        net::ask(number(&socket), &links::bridge(NAME).bytes)?;
        Ok(Network { namespace: File::open(OWN).map_err(|_| Errno::ENOENT)?, socket })
    });
    entry::enter(&own_network)?;
    made
}

fn socket() -> Sys<OwnedFd> {
    net::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).map(own)
}

/// Does `work` in another network, and comes back.
fn within<T>(namespace: &File, work: fn() -> Sys<T>) -> Sys<T> {
    let own_network = File::open(OWN).map_err(|_| Errno::ENOENT)?;
    entry::enter(namespace)?;
    let done = work();
    entry::enter(&own_network)?;
    done
}

const OWN: &str = "/proc/self/ns/net";

/// An entry that is being made.
const NEW: &str = ".new";

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{entered, left, neighbours, swept, written};

    #[test]
    fn many_come_and_go_while_others_look() {
        let place = tempfile::tempdir().unwrap();
        let (directory, network) = (place.path().join("bridge"), File::open("/dev/null").unwrap());
        let over = AtomicBool::new(false);
        let come_and_go = |member: u32| {
            for _ in 0..500 {
                let lock = entered(&directory).unwrap();
                let there = swept(&directory);
                assert!(there.len() < 4 && there.iter().all(|it| it.name != format!("m{member}")), "{there:?}");
                let entry = directory.join(format!("10.88.0.{member}_24"));
                let held = written(&entry, &network, &format!("m{member}")).unwrap();
                drop(lock);
                assert!(neighbours(&directory).iter().any(|it| it.name == format!("m{member}")));
                left(&directory, &entry);
                drop(held);
            }
        };
        std::thread::scope(|scope| {
            let members: Vec<_> = (1..=4)
                .map(|member| {
                    scope.spawn({
                        let come_and_go = &come_and_go;
                        move || come_and_go(member)
                    })
                })
                .collect();
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert!(neighbours(&directory).len() <= 4);
                }
            });
            let ended: Vec<_> = members.into_iter().map(|member| member.join()).collect();
            over.store(true, Ordering::Relaxed);
            assert!(ended.iter().all(Result::is_ok));
        });
        assert!(!directory.exists());
    }

    #[test]
    fn what_nobody_holds_is_nobody() {
        let place = tempfile::tempdir().unwrap();
        let (directory, network) = (place.path().join("bridge"), File::open("/dev/null").unwrap());
        let lock = entered(&directory).unwrap();
        let entry = directory.join("10.88.0.2_24");
        let held = written(&entry, &network, "gone").unwrap();
        assert_eq!(swept(&directory).len(), 1);
        drop(held);
        assert_eq!(neighbours(&directory).len(), 0);
        assert!(entry.exists(), "to look changes nothing");
        assert_eq!(swept(&directory).len(), 0);
        assert!(!entry.exists());
        drop(lock);
    }
}
