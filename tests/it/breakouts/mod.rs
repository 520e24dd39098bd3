//! Escapes and flaws that other sandboxes had, one test a class or CVE, tried on this one as
//! root and as nobody. SECURITY.md has the table; a test here is never removed.

mod archives;
mod cgroups;
mod credentials;
mod holders;
mod ipc;
mod surface;
mod terminal;

use std::path::Path;

use crate::harness::{Sbx, skip};

/// Has `sbx` run a program of Python; says so where there is none.
fn python(sbx: Sbx, program: &str) -> Option<Sbx> {
    if !Path::new("/usr/bin/python3").exists() {
        skip("no python3: apt-get install python3");
        return None;
    }
    Some(sbx.cmd(&["python3", "-c", program]))
}
