//! The yard: a Debian root, archives and images of it, the store of the runs. It is kept in `target/tmp/images`:
//! a Debian is made of packages once.

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Fault, say};

const LAYERS: u64 = 10;
/// Bytes of the file system that runs write to; those that nobody writes take no room.
const GROUND: u64 = 4 << 30;

/// Where the files of the benchmark are.
pub(crate) struct Yard {
    dir: PathBuf,
    bytes: u64,
    members: u64,
}

impl Yard {
    /// Makes what is missing.
    ///
    /// # Errors
    /// A tool that is missing, with the package that has it; one that fails.
    pub(crate) fn build() -> Result<Self, Fault> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("images");
        fs::create_dir_all(&dir)?;
        let mut yard = Self { dir, bytes: 0, members: 0 };
        let archive = yard.path("debian.tar");
        yard.once("debian.tar", || debian(&archive))?;
        for (file, argv) in [
            ("debian.tar.gz", ["gzip", "-6", "-c"]),
            ("debian.tar.zst", ["zstd", "-q", "-c"]),
            ("debian.tar.xz", ["xz", "-T0", "-c"]),
        ] {
            yard.once(file, || pack(&argv, &archive, &yard.path(file)))?;
        }
        yard.once("layout", || yard.layout())?;
        let docker = format!("docker-archive:{}", yard.path("docker.tar"));
        yard.once("docker.tar", || tool("skopeo", &["copy", "-q", &yard.layout_of("all"), &docker]))?;
        yard.bytes = fs::metadata(&archive)?.len();
        yard.members = u64::try_from(tar::Archive::new(File::open(&archive)?).entries()?.count())?;
        Ok(yard)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn members(&self) -> u64 {
        self.members
    }

    /// The path of a file of the yard.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(crate) fn store(&self) -> String {
        self.path("ground/store")
    }

    /// The path of something that a contender writes.
    pub(crate) fn out(&self, name: &str) -> String {
        self.path(&format!("ground/out/{name}"))
    }

    fn layout_of(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path("layout"))
    }

    /// The sbx that is measured.
    pub(crate) fn program(&self) -> String {
        std::env::var("SBX").unwrap_or_else(|_| env!("CARGO_BIN_EXE_sbx").to_owned())
    }

    /// Writes the spec `name` of a run of `rootfs` and returns its path.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn sbx(&self, name: &str, rootfs: &str) -> Result<String, Fault> {
        let path = self.path(&format!("{name}.kdl"));
        fs::write(&path, format!("rootfs \"{rootfs}\"\nreport \"none\"\ncommand \"/bin/true\"\n"))?;
        Ok(path)
    }

    /// Puts a new file system where runs write. Removing what the last one made is not enough: for some minutes ext4
    /// steps over each inode that was freed, and whoever makes files next pays for it (`recently_deleted` of
    /// fs/ext4/ialloc.c).
    ///
    /// # Errors
    /// A tool that fails.
    pub(crate) fn clear(&self) -> Result<(), Fault> {
        self.close()?;
        let (device, ground) = (self.path("ground.ext4"), self.path("ground"));
        drop(fs::remove_file(&device));
        File::create(&device)?.set_len(GROUND)?;
        tool("mkfs.ext4", &["-q", "-F", &device])?;
        fs::create_dir_all(&ground)?;
        tool("mount", &["-o", "loop", &device, &ground])?;
        Ok(fs::create_dir(self.out(""))?)
    }

    /// Takes the file system of the runs away, when nobody writes to it any more.
    ///
    /// # Errors
    /// One that stays in use.
    pub(crate) fn close(&self) -> Result<(), Fault> {
        let ground = self.path("ground");
        let mounted = || tool("mountpoint", &["-q", &ground]).is_ok();
        for _ in 0..200 {
            if !mounted() || tool("umount", &[&ground]).is_ok() {
                drop(fs::remove_file(self.path("ground.ext4")));
                return Ok(());
            }
            // The process that writes a store back is still at it.
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        tool("umount", &[&ground])
    }

    /// Writes the file system back, so that nobody pays for what another one wrote.
    ///
    /// # Errors
    /// A `sync` that fails.
    pub(crate) fn settle(&self) -> Result<(), Fault> {
        tool("sync", &["-f", &self.out("")])
    }

    /// Makes the file or directory `name` if it is not there; what fails half-way is not taken for it.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn once(&self, name: &str, make: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        let done = self.path(&format!("{name}.made"));
        if Path::new(&done).exists() {
            return Ok(());
        }
        say(&format!("making {name}"));
        let path = PathBuf::from(self.path(name));
        if path.is_dir() {
            fs::remove_dir_all(&path)?
        } else if path.exists() {
            fs::remove_file(&path)?
        }
        make()?;
        Ok(fs::write(done, "")?)
    }

    /// Three images: the root in ten layers, the same but for the last layer, that layer alone.
    fn layout(&self) -> Result<(), Fault> {
        let layout = self.path("layout");
        let parts = split(&self.dir)?;
        let changed = self.path("part-changed.tar");
        let last = parts.last().ok_or("no layers")?;
        append(last, &changed)?;
        tool("umoci", &["init", "--layout", &layout])?;
        let others: Vec<String> = parts[..parts.len() - 1].iter().cloned().chain([changed.clone()]).collect();
        for (tag, layers) in [("all", &parts), ("other", &others), ("one", &vec![changed])] {
            self.image("layout", tag, layers)?;
        }
        parts.iter().chain(&others).try_for_each(|part| fs::remove_file(part).or(Ok(())))
    }

    /// Makes the image `tag` of the tars `layers` in the layout `name`.
    ///
    /// # Errors
    /// An umoci that fails.
    pub(crate) fn image(&self, name: &str, tag: &str, layers: &[String]) -> Result<(), Fault> {
        let image = format!("{}:{tag}", self.path(name));
        tool("umoci", &["new", "--image", &image])?;
        layers.iter().try_for_each(|layer| tool("umoci", &["raw", "add-layer", "--image", &image, layer]))
    }
}

/// Runs a tool of the host.
///
/// # Errors
/// One that is missing, or what it says.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> Result<(), Fault> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|fault| format!("{program}: {fault} (apt-get install {program})"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// From where this host has its own packages.
fn debian(archive: &str) -> Result<(), Fault> {
    let lists = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let list = lists.into_iter().find(|list| Path::new(list).exists()).ok_or("no list of the sources of Debian")?;
    let what = ["--quiet", "--variant=minbase", "--include=python3-minimal", "bookworm", archive, list];
    tool("mmdebstrap", &what)
}

fn pack(argv: &[&str], from: &str, to: &str) -> Result<(), Fault> {
    let status = Command::new(argv[0]).args(&argv[1..]).arg(from).stdout(File::create(to)?).status()?;
    if status.success() { Ok(()) } else { Err(format!("{argv:?} failed").into()) }
}

/// Cuts the root into tars of about the same size, between two members.
fn split(dir: &Path) -> Result<Vec<String>, Fault> {
    let whole = dir.join("debian.tar");
    let each = fs::metadata(&whole)?.len() / LAYERS;
    let mut archive = tar::Archive::new(File::open(&whole)?);
    let mut parts: Vec<(String, tar::Builder<File>)> = Vec::new();
    let mut written = u64::MAX;
    let mut extended = false;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        let full = written >= each && u64::try_from(parts.len())? < LAYERS;
        // A member stays with the headers that describe it.
        if full && !extended {
            let path = dir.join(format!("part-{}.tar", parts.len())).display().to_string();
            parts.push((path.clone(), tar::Builder::new(File::create(&path)?)));
            written = 0;
        }
        let header = entry.header().clone();
        extended = matches!(
            header.entry_type(),
            tar::EntryType::XHeader | tar::EntryType::GNULongName | tar::EntryType::GNULongLink
        );
        let (_, part) = parts.last_mut().ok_or("no layers")?;
        part.append(&header, &mut entry)?;
        written += 512 + entry.size().next_multiple_of(512);
    }
    parts.into_iter().map(|(path, mut part)| part.finish().map(|()| path).map_err(Fault::from)).collect()
}

/// Writes the tar at `from` to `to`, with one more file.
fn append(from: &str, to: &str) -> Result<(), Fault> {
    let mut old = Vec::new();
    File::open(from)?.read_to_end(&mut old)?;
    old.truncate(old.len() - 1024);
    let mut new = tar::Builder::new(File::create(to)?);
    new.get_mut().write_all(&old)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(8);
    header.set_mode(0o644);
    new.append_data(&mut header, "changed", &b"changed\n"[..])?;
    Ok(new.finish()?)
}
