//! Archives, byte by byte or member by member, unpacked beside a canary: nothing outside
//! of the directory changes, and what comes out has no set-id bit and is no device.
#![no_main]

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use sbx::image::Bounds;
use sbx::image::fuzzing::{Owners, unpack};
use sbx_fuzz::arena::Arena;

static ARENA: LazyLock<Arena> = LazyLock::new(|| Arena::new("archive"));

/// Small, so that an input that is accepted is cheap too.
const BOUNDS: Bounds = Bounds { entries: 64, unpacked: 1 << 20, ratio: 200 };

/// What inputs of members begin with; all others are archives as they are, packed or not.
const MEMBERS: &[u8] = b"members\n";

/// One member. The names are few, so that members meet.
#[derive(Debug, Arbitrary)]
enum Member {
    File(Name, u16, Vec<u8>),
    Directory(Name, u16),
    Symlink(Name, Name),
    Hardlink(Name, Name),
    Fifo(Name, u16),
    Device(Name),
    /// A PAX header with this name or link for the next member.
    Pax(Key, Name),
    /// A member with any type and any size in its header.
    Odd(Name, u8, u32),
}

#[derive(Debug, Arbitrary)]
enum Key {
    Path,
    LinkPath,
    Attribute,
}

/// A way through the tree.
#[derive(Debug, Arbitrary)]
struct Name {
    start: Start,
    parts: Vec<Part>,
}

#[derive(Debug, Arbitrary)]
enum Start {
    Here,
    Root,
    Up(u8),
    /// The canary, by its absolute path, from where members lie, or by its descriptor.
    Canary,
    CanaryBeside,
    CanaryOpen,
    Descriptor(u8),
}

#[derive(Debug, Arbitrary)]
enum Part {
    A,
    B,
    C,
    Up,
    Dot,
    Nothing,
    File,
    Dev,
    Long,
}

impl Name {
    fn text(&self) -> String {
        let mut parts: Vec<String> = vec![match self.start {
            Start::Here => ".".to_owned(),
            Start::Root => String::new(),
            Start::Up(count) => vec![".."; usize::from(count % 24) + 1].join("/"),
            Start::Canary => ARENA.canary().display().to_string(),
            Start::CanaryBeside => "../canary".to_owned(),
            Start::CanaryOpen => ARENA.descriptor().display().to_string(),
            Start::Descriptor(number) => format!("/proc/self/fd/{}", number % 16),
        }];
        parts.extend(self.parts.iter().take(12).map(|part| match part {
            Part::A => "a".to_owned(),
            Part::B => "b".to_owned(),
            Part::C => "c".to_owned(),
            Part::Up => "..".to_owned(),
            Part::Dot => ".".to_owned(),
            Part::Nothing => String::new(),
            Part::File => "file".to_owned(),
            Part::Dev => "dev".to_owned(),
            Part::Long => "n".repeat(255),
        }));
        parts.join("/")
    }
}

impl Member {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::File(name, mode, data) => {
                header((b'0', *mode), (name, None), (&data[..data.len().min(2048)], None), bytes)
            }
            Self::Directory(name, mode) => header((b'5', *mode), (name, None), (&[], None), bytes),
            Self::Symlink(name, target) => header((b'2', 0o777), (name, Some(target)), (&[], None), bytes),
            Self::Hardlink(name, target) => header((b'1', 0o644), (name, Some(target)), (&[], None), bytes),
            Self::Fifo(name, mode) => header((b'6', *mode), (name, None), (&[], None), bytes),
            Self::Device(name) => header((b'3', 0o666), (name, None), (&[], None), bytes),
            Self::Odd(name, kind, size) => header((*kind, 0o644), (name, None), (&[], Some(*size)), bytes),
            Self::Pax(key, name) => {
                let key = match key {
                    Key::Path => "path",
                    Key::LinkPath => "linkpath",
                    Key::Attribute => "SCHILY.xattr.user.a",
                };
                let record = record(key, &name.text());
                let own = Name { start: Start::Here, parts: vec![Part::A] };
                header((b'x', 0o644), (&own, None), (record.as_bytes(), None), bytes);
            }
        }
    }
}

fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let digits = (1..5).find(|digits| (rest + digits).to_string().len() == *digits).unwrap_or(5);
    format!("{} {key}={value}\n", rest + digits)
}

fn header(
    (kind, mode): (u8, u16),
    (name, link): (&Name, Option<&Name>),
    (data, size): (&[u8], Option<u32>),
    bytes: &mut Vec<u8>,
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    let old = header.as_old_mut();
    let put = |field: &mut [u8; 100], text: String| {
        let length = text.len().min(100);
        field[..length].copy_from_slice(&text.as_bytes()[..length]);
    };
    put(&mut old.name, name.text());
    if let Some(link) = link {
        put(&mut old.linkname, link.text());
    }
    header.set_mode(u32::from(mode) & 0o7777);
    header.set_uid(u64::from(mode));
    header.set_gid(34);
    header.set_mtime(1_000_000_000);
    header.set_size(size.map_or(data.len() as u64, u64::from));
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

fuzz_target!(|bytes: &[u8]| {
    let made;
    let archive = match bytes.strip_prefix(MEMBERS).map(|rest| Unstructured::new(rest).arbitrary()) {
        None => bytes,
        Some(Err(_)) => return,
        Some(Ok::<Vec<Member>, _>(members)) => {
            let mut archive = Vec::new();
            members.iter().take(24).for_each(|member| member.write(&mut archive));
            archive.resize(archive.len() + 1024, 0);
            made = archive;
            made.as_slice()
        }
    };
    let mut file = File::from(memfd_create("archive", MemfdFlags::CLOEXEC).expect("a file in memory can be made"));
    file.write_all(archive).and_then(|()| file.rewind()).expect("it can be written");
    let root = ARENA.fresh();
    // Both owners meet with all members; only root can give files away.
    let owners = match bytes.len().is_multiple_of(2) && rustix::process::geteuid().is_root() {
        true => Owners::Archive,
        false => Owners::Caller,
    };
    let unpacked = unpack(&file, (&root, owners), &BOUNDS);
    ARENA.check();
    let (mut files, mut size) = (0, 0);
    look(&root, &mut files, &mut size);
    assert!(files <= BOUNDS.entries + 1, "{files} files");
    assert!(size <= BOUNDS.unpacked, "{size} bytes");
    if let Err(error) = unpacked {
        let message = error.to_string();
        assert!(!message.is_empty() && message.len() < 8192, "{message}");
    }
});

/// Checks each file of the tree, without following any link.
fn look(path: &Path, files: &mut u64, size: &mut u64) {
    let found = std::fs::symlink_metadata(path).expect("the tree can be looked at");
    *files += 1;
    let kind = found.file_type();
    assert!(!kind.is_block_device() && !kind.is_char_device() && !kind.is_socket(), "{path:?} is a device");
    let mode = found.permissions().mode();
    assert!(kind.is_symlink() || mode & 0o4000 == 0, "{path:?} has the mode {mode:o}");
    assert!(kind.is_symlink() || kind.is_dir() || mode & 0o2000 == 0, "{path:?} has the mode {mode:o}");
    if kind.is_file() {
        *size += found.size() / found.nlink().max(1);
    }
    if kind.is_dir() {
        // Without rights over all files, some directories of the tree are closed to their owner as well.
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            look(&entry.path(), files, size);
        }
    }
}
