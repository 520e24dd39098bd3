//! A small forest of directories, files and links, and paths through it: wherever sbx walks
//! by itself or takes a short cut, it ends where openat2(2) with RESOLVE_IN_ROOT ends. And no
//! link that lies where a command may write leads a path of the spec astray.
#![no_main]

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2, statat};
use rustix::io::Errno;
use sbx::image::fuzzing::make_parents;
use sbx::image::{Found, above, look};
use sbx::run::anchor::Exposed;
use sbx::units::AbsPath;
use sbx_fuzz::arena::Arena;

static ARENA: LazyLock<Arena> = LazyLock::new(|| Arena::new("path"));

/// The names of the forest; the last is where a command may write.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "out"];

#[derive(Debug, Arbitrary)]
struct Input {
    trees: Vec<Tree>,
    paths: Vec<Walk>,
}

/// Something in the forest, at two levels at most.
#[derive(Debug, Arbitrary)]
struct Tree {
    directory: Option<u8>,
    name: u8,
    what: What,
}

#[derive(Debug, Arbitrary)]
enum What {
    Directory,
    File,
    Link(Walk),
    /// To what no path of the spec names: only a link that a command planted leads there.
    Trap,
}

#[derive(Debug, Arbitrary)]
struct Walk {
    absolute: bool,
    parts: Vec<u8>,
}

impl Walk {
    fn text(&self) -> String {
        let part = |part: &u8| match part % 16 {
            0..5 => NAMES[usize::from(part % 16)],
            5 | 6 => "out",
            7..10 => "..",
            10 => ".",
            11 => "",
            rest => NAMES[usize::from(rest) % 4],
        };
        let text = self.parts.iter().take(10).map(part).collect::<Vec<_>>().join("/");
        let text = text.trim_start_matches('/');
        match (self.absolute, text) {
            (true, text) => format!("/{text}"),
            (false, "") => ".".to_owned(),
            (false, text) => text.to_owned(),
        }
    }
}

fuzz_target!(|input: Input| {
    let home = ARENA.fresh();
    let root = home.join("root");
    for name in ["root", "root/out", "trap", "trap/a"] {
        std::fs::create_dir(home.join(name)).expect("a directory can be made");
    }
    plant(&root, &home.join("trap"), &input.trees);
    let paths: Vec<String> = input.paths.iter().take(6).map(Walk::text).collect();
    for path in &paths {
        if let Ok(path) = AbsPath::new(&format!("/{path}")) {
            kind(&root, &path);
            directories(&root, &path);
        }
        anchored(&home, path);
    }
    // It makes what is missing, so it comes last.
    for path in &paths {
        walked(&root, path);
    }
    ARENA.check();
});

/// Makes the forest. Links are absolute as inside `root`, and those below `out`, which a command planted, also as
/// on the host.
fn plant(root: &Path, trap: &Path, trees: &[Tree]) {
    let name = |number: u8| NAMES[usize::from(number) % NAMES.len()];
    for tree in trees.iter().take(24) {
        let above = tree.directory.map_or_else(|| root.to_owned(), |number| root.join(name(number)));
        let place = above.join(name(tree.name));
        let exposed = place.starts_with(root.join("out")) && place != root.join("out");
        // What is there already stays, and a link above is not gone through.
        if std::fs::symlink_metadata(&above).is_ok_and(|found| found.is_symlink()) {
            continue;
        }
        let made = match &tree.what {
            What::Directory => std::fs::create_dir(&place),
            What::File => std::fs::File::create_new(&place).map(drop),
            What::Link(walk) => symlink(walk.text(), &place),
            What::Trap if exposed => symlink(trap, &place),
            What::Trap => Ok(()),
        };
        if let Err(error) = made {
            let known =
                [std::io::ErrorKind::AlreadyExists, std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory];
            assert!(known.contains(&error.kind()), "{}: {error}", place.display());
        }
    }
}

fn kernel(root: impl AsFd, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let path = CString::new(path.as_bytes()).map_err(|_| Errno::INVAL)?;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
}

fn identity(file: impl AsFd) -> (u64, u64) {
    let found = fstat(file).expect("it is open");
    (found.st_dev, found.st_ino)
}

/// `image::look`, with its short cut for a name in the root directory.
fn kind(root: &Path, path: &AbsPath) {
    let expected = match kernel(open(root), OsStr::new(path.as_str()), OFlags::empty()) {
        Ok(file) if fstat(&file).expect("it is open").st_mode & 0o170_000 == 0o040_000 => Found::Directory,
        Ok(_) => Found::File,
        Err(Errno::NOENT) => Found::Missing,
        Err(errno) => Found::Unknown(errno.raw_os_error()),
    };
    assert_eq!(look(root, path), expected, "{path}");
}

/// `image::above`: directories without links on the way, the last of them the deepest that is there.
fn directories(root: &Path, path: &AbsPath) {
    let top = open(root);
    let mut parent = path.parent();
    let deepest = loop {
        let Some(current) = parent.filter(|parent| *parent != AbsPath::root()) else { break None };
        match kernel(&top, OsStr::new(current.as_str()), OFlags::DIRECTORY) {
            Ok(found) => break Some(identity(found)),
            Err(_) => parent = current.parent(),
        }
    };
    let found = above(root, path);
    let last = found.last().map(|last| {
        use std::os::unix::fs::MetadataExt as _;
        (last.found.dev(), last.found.ino())
    });
    // A way that leads back to the root has nothing between.
    assert_eq!(last, deepest.filter(|deepest| *deepest != identity(&top)), "{path}");
    for directory in &found {
        let plain = root.join(directory.path.as_str().trim_start_matches('/'));
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let rest = directory.path.as_str().trim_start_matches('/');
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let real = openat2(&top, rest, flags, Mode::empty(), beneath);
        assert!(real.is_ok() && directory.found.is_dir(), "{} of {path}", plain.display());
    }
}

/// The way to the parent of a member: where the kernel comes to an end, so does sbx, and what sbx makes is what the
/// kernel finds.
fn walked(root: &Path, path: &str) {
    // The names of members have no `..` left when they come here; the links on the way may.
    let parts: Vec<&[u8]> =
        path.as_bytes().split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"." | b"..")).collect();
    if parts.is_empty() {
        return;
    }
    let name = parts.join(&b'/');
    let top = open(root);
    let before = kernel(&top, OsStr::from_bytes(&name), OFlags::DIRECTORY).map(identity);
    let made = make_parents(root, &parts);
    let after = kernel(&top, OsStr::from_bytes(&name), OFlags::DIRECTORY).map(identity);
    match (before, made) {
        (Ok(before), Ok(made)) => assert_eq!(identity(&*made), before, "{}", name.escape_ascii()),
        (Ok(_), Err(error)) => panic!("`{}` is there: {error}", name.escape_ascii()),
        (Err(Errno::NOENT), Ok(made)) => assert_eq!(Ok(identity(&*made)), after, "{}", name.escape_ascii()),
        // A link to what is missing and back out of it: the kernel says what is wrong first.
        (Err(errno), Ok(_)) => panic!("`{}` was made, and the kernel says {errno}", name.escape_ascii()),
        (Err(_), Err(error)) => assert!(!error.to_string().is_empty()),
    }
}

/// `run::anchor`: what opens is what the kernel opens, and never through a link that a command planted.
fn anchored(home: &Path, path: &str) {
    let root = home.join("root");
    let out = root.join("out");
    let exposed = Exposed::new([out.as_path()].into_iter());
    let path: PathBuf = root.join(path.trim_start_matches('/')).components().collect();
    let flags = (OFlags::PATH | OFlags::CLOEXEC).bits().cast_signed();
    let Ok(opened) = exposed.open(&path, flags) else { return };
    let plain = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("sbx has opened it");
    assert_eq!(identity(&opened), identity(&plain), "{}", path.display());
    for name in ["trap", "trap/a"] {
        let trap =
            statat(rustix::fs::CWD, home.join(name), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).expect("it is there");
        assert_ne!(identity(&opened), (trap.st_dev, trap.st_ino), "{} leads into the trap", path.display());
    }
    // Nothing was anchored: then it does not matter what is in the directory.
    if exposed.anchor(&path) == Ok(None) {
        let hidden = home.join("hidden");
        std::fs::rename(&out, &hidden).expect("it can be moved");
        std::fs::create_dir(&out).expect("it can be made");
        let now = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(identity);
        let replaced = identity(open(&out));
        std::fs::remove_dir(&out).and_then(|()| std::fs::rename(&hidden, &out)).expect("it can be moved back");
        let same = now == Ok(identity(&opened));
        // The directory itself is another one now; what goes in and out again needs what is in between.
        let known = now == Ok(replaced) || now == Err(Errno::NOENT);
        assert!(same || known, "{} is not anchored, and leads elsewhere without what is in `out`", path.display());
    }
}
