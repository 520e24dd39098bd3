//! What is taken out of a sandbox when it has ended: its changes as a layer, files and
//! directories, and what others make of a layer.

mod collect;
mod layer;
mod tools;

use crate::harness::Sbx;

/// Unpacks nothing: returns the names in a tar, and what each is.
fn members(sbx: &Sbx, name: &str) -> Vec<(String, tar::EntryType)> {
    let bytes = std::fs::read(sbx.path(name)).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), entry.header().entry_type()))
        .collect()
}

fn names(sbx: &Sbx, name: &str) -> Vec<String> {
    members(sbx, name).into_iter().map(|(name, _)| name).collect()
}

/// Returns what is left of sbx's own in the directory of the run.
fn leftovers(sbx: &Sbx) -> Vec<String> {
    let names = std::fs::read_dir(sbx.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(".sbx-")).collect()
}
