//! Looks up what a plan has to know: the rootfs, the paths that it names, the groups
//! that can be made. Nothing is made here but what an archive holds, in the store.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::app::configure;
use crate::app::prepare;
use crate::app::profile;
use crate::app::progress::Bar;
use crate::app::sight;
use crate::app::source;
use crate::app::store;
use crate::app::trusted;
use crate::cli::Place;
use crate::error::{Error, Kind, Result};
use crate::host::probe::{self, Depth};
use crate::host::{Caller, Controller, Host};
use crate::image::{self, Asked, Found, Image, Lookup};
use crate::plan::facts::{
    Account, Accounting, Base, Facts, FileKind, HostEntry, Invocation, LandlockFacts, Question, Redirection, Search,
    Standing, Subordinate,
};
use crate::plan::ground;
use crate::plan::landlock::resolve::asks;
use crate::run::anchor::Exposed;
use crate::spec::{HostPath, Ids, Pull, RootfsSource, Spec, User, Who};
use crate::sys::net::Family;
use crate::sys::{file, landlock};
use crate::units::{AbsPath, Origin, Spanned};

/// The names in the root directory that belong to the system (hier(7)).
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];

/// What was found.
#[derive(Debug)]
pub struct Gathered {
    pub facts: Facts,
    /// The image, where the rootfs is one.
    pub image: Option<Image>,
    /// The spec with what the image says where it says nothing, if that makes a difference.
    pub configured: Option<Spec>,
}

/// Looks everything up that the plan for `spec` needs.
///
/// # Errors
/// A rootfs that cannot be had, a directory that cannot be made.
pub fn gather(spec: &Spec, invocation: &Invocation, exposed: &Exposed, place: &Place) -> Result<Gathered> {
    let origin = spec.rootfs.as_ref().map_or(Origin::Default, |rootfs| rootfs.origin);
    let held = hold(spec, invocation, exposed).map_err(|error| error.at(origin))?;
    let image = located(spec, invocation, held.as_ref(), place).map_err(|error| error.at(origin))?;
    let base = base(spec, image.as_ref())?;
    let configured = configure::complete(spec, image.as_ref(), &base).map_err(|error| error.at(origin))?;
    let spec = configured.as_ref().unwrap_or(spec);
    if let Some(image) = &image {
        prepare::apart(spec, invocation, &image.root)?;
    }
    let questions = ground::survey(spec, &base, invocation);
    let answers = questions.into_iter().map(|question| (question.clone(), answer(&question, image.as_ref()))).collect();
    let host = host(spec, invocation);
    let deep = ground::deep(spec, &base, invocation).into_iter();
    let above = deep.map(|question| (question.clone(), above(&question, image.as_ref(), host.caller))).collect();
    let facts = Facts {
        top: image.as_ref().and_then(|image| image::top(image.eyes())).map(|top| standing(top, host.caller)),
        account: account(spec, image.as_ref())?,
        subordinate: subordinate(spec, host.caller.uid),
        devices: devices(spec, invocation)?,
        seccomp: profile::facts(spec, invocation, exposed)?,
        pinned: trusted::pinned(spec, invocation)?,
        landlock: landlock(spec),
        families: families(spec),
        redirection: Redirection::There,
        host,
        base,
        answers,
        above,
    };
    Ok(Gathered { facts, image, configured })
}

fn landlock(spec: &Spec) -> LandlockFacts {
    if !asks(spec) {
        return LandlockFacts::NotAsked;
    }
    match landlock::version() {
        Ok(version) => LandlockFacts::Version(version),
        Err(errno) => LandlockFacts::Missing(errno as i32),
    }
}

fn families(spec: &Spec) -> Vec<Family> {
    match spec.network.as_ref().is_some_and(|network| network.value.rules().is_some()) {
        true => probe::families(),
        false => vec![Family::V4],
    }
}

/// Opens a rootfs that lies where a command may have put links, so that what is looked at is what is there now.
fn hold(spec: &Spec, invocation: &Invocation, exposed: &Exposed) -> Result<Option<OwnedFd>> {
    let Some(path) = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.source.path()) else { return Ok(None) };
    let path = invocation.absolute(path);
    let opened = exposed.anchor(&path).and_then(|found| found.map(|it| it.open(libc::O_PATH)).transpose());
    opened.map_err(|errno| Error::io(format_args!("cannot look at the rootfs `{}`", path.display()), &errno.into()))
}

/// Returns the image of `spec`, from the store at `place` or, where it is not there yet, from where it comes from.
///
/// # Errors
/// An image that cannot be had.
pub fn located(spec: &Spec, invocation: &Invocation, held: Option<&OwnedFd>, place: &Place) -> Result<Option<Image>> {
    let Some(rootfs) = spec.rootfs.as_ref().map(|rootfs| &rootfs.value) else { return Ok(None) };
    let path = rootfs.source.path().map(|path| invocation.absolute(path)).unwrap_or_default();
    let named = source::reference(&rootfs.source)?;
    let pull = rootfs.pull.as_ref().map_or(Pull::Missing, |pull| pull.value);
    let Some(source) = source::asked(&rootfs.source, &path, (named.as_ref(), pull)) else { return Ok(None) };
    let mut bar = Bar::new(&rootfs.source.as_written());
    let digest = rootfs.digest.as_ref().map(|digest| digest.value.as_str());
    let mut locate = |range| {
        let asked = Asked {
            source,
            held,
            tag: rootfs.source.tag(),
            platform: rootfs.platform.as_ref().map(|platform| platform.value.as_str()),
            range,
        };
        image::locate(asked, digest, || store::chosen(place), &mut |progress| bar.show(progress))
    };
    let caller = (file::effective_uid(), file::effective_gid());
    let range = subordinate(spec, caller.0);
    let (Some(range), Some(user)) = (range, &spec.user) else { return locate(None).map(Some) };
    // Whom the caller is inside decides who owns a file on disk.
    let of = |own: (u32, u32)| {
        let uids = image::Ids { caller: caller.0, first: range.first_uid, own: own.0 };
        Some(image::Range { uids, gids: image::Ids { caller: caller.1, first: range.first_gid, own: own.1 } })
    };
    let own = match &user.value.who {
        Who::Caller => caller,
        Who::Root => (0, 0),
        Who::Numeric { uid, gid } => (*uid, *gid),
        // What a name means stands in the image.
        Who::Name(_) => {
            let image = locate(of((0, 0)))?;
            match account(spec, Some(&image))? {
                Some(found) if (found.uid, found.gid) != (0, 0) => (found.uid, found.gid),
                _ => return Ok(Some(image)),
            }
        }
    };
    locate(of(own)).map(Some)
}

fn base(spec: &Spec, image: Option<&Image>) -> Result<Base> {
    match (image, spec.rootfs.as_ref().map(|rootfs| &rootfs.value.source)) {
        (Some(image), _) => Ok(Base::Image(image.root.clone())),
        (None, Some(RootfsSource::Scratch)) => Ok(Base::Scratch),
        (None, _) => {
            SYSTEM.iter().filter_map(|path| host_entry(path).transpose()).collect::<Result<_>>().map(Base::Host)
        }
    }
}

fn host_entry(path: &str) -> Result<Option<HostEntry>> {
    let failed = |source: &std::io::Error| Error::io(format_args!("cannot look at `{path}`"), source);
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(&source)),
    };
    let link = match found.is_symlink() {
        true => Some(std::fs::read_link(path).map_err(|source| failed(&source))?.to_string_lossy().into_owned()),
        false => None,
    };
    Ok(AbsPath::new(path).ok().map(|path| HostEntry { path, link }))
}

fn answer(question: &Question, image: Option<&Image>) -> FileKind {
    match (question, image) {
        (Question::Host(path), _) => on_host(path),
        (Question::Image(path), Some(image)) => match image::look(image.eyes(), path) {
            Found::Directory => FileKind::Directory,
            Found::File => FileKind::File,
            Found::Missing => FileKind::Missing,
            Found::Unknown(errno) => FileKind::Unknown(errno),
        },
        (Question::Image(_), None) => FileKind::Missing,
    }
}

fn above(question: &Question, image: Option<&Image>, caller: Caller) -> Vec<Standing> {
    let found = match (question, image) {
        (Question::Image(path), Some(image)) => image::above(image.eyes(), path),
        (Question::Image(_), None) => Vec::new(),
        (Question::Host(path), _) => {
            let path = path.to_str().and_then(|path| AbsPath::new(path).ok());
            path.map(|path| image::above(Path::new("/"), &path)).unwrap_or_default()
        }
    };
    found.into_iter().map(|above| standing(above, caller)).collect()
}

fn standing(image::Above { path, found, search }: image::Above, caller: Caller) -> Standing {
    // Root may do anything, and its sandbox is one of the others.
    let search = if caller.is_root() { found.mode() & 0o001 != 0 } else { search };
    let search = if search { Search::Allowed } else { Search::Denied };
    Standing { path, mode: found.mode() & 0o7777, uid: found.uid(), gid: found.gid(), search }
}

fn on_host(path: &Path) -> FileKind {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => FileKind::Directory,
        Ok(_) => FileKind::File,
        Err(source) => match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => FileKind::Missing,
            errno => FileKind::Unknown(errno.unwrap_or(libc::EIO)),
        },
    }
}

fn host(spec: &Spec, invocation: &Invocation) -> Host {
    let wanted = controllers(spec, invocation.accounting);
    let depth = match &spec.limits.cgroup {
        None if wanted.is_empty() => Depth::Caller,
        Some(Spanned { value: HostPath(path), .. }) => Depth::CgroupsUnder(PathBuf::from(path)),
        None => Depth::Cgroups(wanted),
    };
    probe::probe(&depth)
}

/// Returns the controllers that the limits and the figures of a run need.
#[must_use]
pub fn controllers(spec: &Spec, accounting: Accounting) -> Vec<Controller> {
    let limits = &spec.limits;
    let mut wanted = Vec::new();
    let asked = [
        (limits.memory.is_some(), Controller::Memory),
        (limits.cpu.is_some(), Controller::Cpu),
        (limits.cpu_time.is_some(), Controller::Cpuacct),
        (limits.cpuset.is_some(), Controller::Cpuset),
        (limits.pids.is_some(), Controller::Pids),
        (!limits.io.is_empty(), Controller::Io),
        (!limits.hugetlb.is_empty(), Controller::Hugetlb),
    ];
    wanted.extend(asked.into_iter().filter(|(asked, _)| *asked).map(|(_, controller)| controller));
    if accounting == Accounting::IfAvailable {
        wanted.extend([Controller::Memory, Controller::Cpu, Controller::Cpuacct, Controller::Pids]);
    } else if wanted.contains(&Controller::Cpuacct) {
        wanted.push(Controller::Cpu);
    }
    wanted.sort();
    wanted.dedup();
    wanted
}

fn account(spec: &Spec, image: Option<&Image>) -> Result<Option<Account>> {
    let Some(Spanned { value: User { who: Who::Name(name), ids }, origin }) = &spec.user else {
        return Ok(None);
    };
    let root = image.map_or(Path::new("/"), Image::eyes);
    let found = image::account(root, Lookup::Name(name)).map_err(|error| error.at(*origin))?;
    let groups = match (&found, image, ids) {
        (Some(_), Some(_), Ids::Range) => image::memberships(root, name).map_err(|error| error.at(*origin))?,
        // One id has no second group; and what the host's groups may do is nothing to a sandbox.
        _ => Vec::new(),
    };
    Ok(found.map(|account| Account {
        name: account.name,
        uid: account.uid,
        gid: account.gid,
        home: account.home.as_str().to_owned(),
        groups,
    }))
}

fn subordinate(spec: &Spec, caller: u32) -> Option<Subordinate> {
    if spec.user.as_ref().is_none_or(|user| user.value.ids != Ids::Range) || caller == 0 {
        return None;
    }
    sight::subordinates(caller)
}

/// Returns the whole device behind each path of `limits.io`: its own number, or that of the file system.
fn devices(spec: &Spec, invocation: &Invocation) -> Result<BTreeMap<PathBuf, (u32, u32)>> {
    let mut devices = BTreeMap::new();
    for limit in &spec.limits.io {
        let path = invocation.absolute(&limit.value.device);
        let found = std::fs::metadata(&path).map_err(|source| {
            Error::io(format_args!("cannot look at `{}`", path.display()), &source)
                .with_kind(Kind::Spec)
                .at(limit.origin)
        })?;
        let number = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
        let (major, minor) = (libc::major(number), libc::minor(number));
        // Major 0 is no device: tmpfs, overlay and the like.
        if major != 0 {
            devices.insert(path, (major, minor));
        }
    }
    Ok(devices)
}
