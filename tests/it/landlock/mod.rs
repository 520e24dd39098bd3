//! Landlock behind the mounts: what follows from them, the spec's own rules, and what is
//! said and done on every kernel from the first that has it to the newest.

mod derived;
mod kernels;
mod own;

use std::path::Path;

use crate::harness::{Ran, Sbx, Who, skip};

/// What is `landlock` of the report: version and status.
fn in_force(ran: &Ran) -> (Option<u64>, String) {
    let member = &ran.report["isolation"]["landlock"];
    (member["abi"].as_u64(), member["status"].as_str().unwrap().to_owned())
}

/// Whether this kernel has all that sbx knows; says so if not.
fn newest() -> bool {
    let newest = sbx::sys::landlock::version().is_ok_and(|version| version >= 7);
    if !newest {
        skip("the kernel has less than version 7 of Landlock");
    }
    newest
}

/// Runs a program of Python inside.
fn python(who: Who, spec: &str, program: &str) -> Option<Ran> {
    if !Path::new("/usr/bin/python3").exists() {
        skip("no python3: apt-get install python3");
        return None;
    }
    Some(Sbx::new(who).dir("out").dir("src").spec(spec).cmd(&["python3", "-c", program]).run())
}
