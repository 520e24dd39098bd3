//! The yard: compiled yardsticks, the root directory that every contender gets,
//! specs and bundles, in one temporary directory that goes with the benchmark.
//! It never touches anything outside of that directory.

use crate::compile::compile;
use crate::contenders::ENV;
use crate::{Fault, say};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Where the benchmark's files are; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Yard {
    dir: PathBuf,
    has_floor: bool,
}

/// Freestanding static programs: no libc, few pages.
const BARE: &[&str] = &[
    "-static",
    "-no-pie",
    "-fno-pie",
    "-nostdlib",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fcf-protection=none",
    "-Wl,-z,noseparate-code,-z,norelro,-z,noexecstack,--build-id=none",
];

/// What is measured call by call: the name of a spec, what the table calls it, and what the spec has.
pub(crate) const CONFINED: [(&str, &str, &str); 5] = [
    ("bare", "`seccomp none` and `landlock none`", "report \"none\"\nseccomp \"none\"\nlandlock \"none\"\n"),
    ("landlock", "`seccomp none`", "report \"none\"\nseccomp \"none\"\n"),
    ("filter-default", "`seccomp default`", "report \"none\"\nseccomp \"default\"\n"),
    ("filter-strict", "`seccomp strict`", "report \"none\"\nseccomp \"strict\"\n"),
    ("counted", "`seccomp default` and a report", "report \"/dev/null\"\nseccomp \"default\"\n"),
];

const SPEC: &str = "writable=\"no\"\nreport \"none\"\n";
/// Without what the others do not have either.
const COMPAT: &str = "profile \"compat\"\n";
const LIMITS: &str = "limits {\n    memory \"64M\"\n    pids 32\n    cpu 1.0\n}\n";

impl Yard {
    /// Compiles and writes everything.
    ///
    /// # Errors
    /// No C compiler for the harness, or a directory that cannot be written.
    pub(crate) fn build() -> Result<Self, Fault> {
        let dir = std::env::temp_dir().join(format!("sbx-bench-{}", std::process::id()));
        let root = dir.join("root");
        for name in ["proc", "dev", "tmp", "run", "sys", "etc"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::create_dir_all(root.join("tree/1/2/3/4"))?;
        for file in ["tree/a", "tree/1/2/3/4/a"] {
            fs::write(root.join(file), "")?;
        }
        fs::create_dir_all(dir.join("out"))?;
        // The unprivileged runs have to get in, whatever the caller's umask.
        for path in [&dir, &root] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        }
        let mut yard = Self { dir, has_floor: true };
        compile(&["harness"], &yard.path("harness"), &[])?;
        for program in ["true", "pause", "probe"] {
            compile(&[program], &root.join(program), BARE)?;
        }
        compile(&["calls"], &root.join("calls"), &["-static"])?;
        if let Err(why) = compile(&["floor"], &yard.path("floor"), BARE) {
            say(&format!("SKIP floor: {why}"));
            yard.has_floor = false;
        }
        let sbx = std::env::var_os("SBX").unwrap_or_else(|| env!("CARGO_BIN_EXE_sbx").into());
        fs::copy(&sbx, yard.path("sbx")).map_err(|fault| format!("{}: {fault}", sbx.display()))?;
        yard.write_specs()?;
        Ok(yard)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text: arguments of programs.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    pub(crate) fn has_floor(&self) -> bool {
        self.has_floor
    }

    fn write_specs(&self) -> Result<(), Fault> {
        let root = format!("rootfs {:?} ", self.text("root"));
        let plain = format!("{root}{SPEC}");
        fs::write(self.path("plain.kdl"), &plain)?;
        fs::write(self.path("limits.kdl"), format!("{plain}{LIMITS}"))?;
        fs::write(self.path("plain-compat.kdl"), format!("{plain}{COMPAT}"))?;
        fs::write(self.path("limits-compat.kdl"), format!("{plain}{COMPAT}{LIMITS}"))?;
        for (name, _, words) in CONFINED {
            fs::write(self.path(&format!("{name}.kdl")), format!("{root}writable=\"no\"\n{words}"))?;
        }
        let padded = include_str!("padded.kdl").replace("@ROOT@", &self.text("root"));
        fs::write(self.path("padded.kdl"), padded)?;
        let example = include_str!("example.kdl").replace("@ROOT@", &self.text("root"));
        fs::write(self.path("example.kdl"), example)?;
        self.write_scripts(&plain)
    }

    /// The plain spec as a program, and in the comments of one.
    fn write_scripts(&self, plain: &str) -> Result<(), Fault> {
        let spec = format!("{plain}command \"/true\"\n");
        let comments: String = spec.lines().map(|line| format!("# {line}\n")).collect();
        let sbx = self.text("sbx");
        for (how, first) in [("path", format!("#!{sbx}\n")), ("env", format!("#!{ENV} {sbx}\n"))] {
            let named = format!("{first}{spec}");
            let carried = format!("{first}# What it does.\n# /// sbx\n{comments}# ///\n{}", "echo\n".repeat(20));
            for (name, text) in [(format!("named-by-{how}.kdl"), named), (format!("carried-by-{how}"), carried)] {
                fs::write(self.path(&name), text)?;
                fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(())
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if let Err(fault) = fs::remove_dir_all(&self.dir) {
            say(&format!("could not remove {}: {fault}", self.dir.display()));
        }
    }
}
