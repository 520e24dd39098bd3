//! Specs as users write them: the good ones decode, the bad ones are explained.

use std::path::{Path, PathBuf};

use sbx::app::request::Text;
use sbx::spec::diagnostic::{Colour, render};
use sbx::spec::param::Setting;
use sbx::spec::parse::parse;

/// Returns the specs of a directory of the package, in the order of their names, but for those of `specs` that are
/// tests.
pub(crate) fn specs(directory: &str) -> Vec<PathBuf> {
    let own = directory == "specs";
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(&directory).expect("the directory is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("its entries can be read").path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".kdl") && !(own && name.ends_with(".sbx.kdl"))
    });
    paths.sort();
    assert!(!paths.is_empty(), "no specs in {}", directory.display());
    paths
}

/// Returns what has to be set where `text` is a spec of the package.
pub(crate) fn settings(text: &Text) -> Vec<Setting> {
    let unset = text.text.contains("param \"NAME\"\n");
    unset.then(|| Setting { name: "NAME".to_owned(), value: "you".to_owned() }).into_iter().collect()
}

/// Runs `compare` with snapshots in the package's own directory. Nothing is written
/// unless `INSTA_UPDATE` asks for it.
pub(crate) fn with_snapshots(compare: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(compare);
}

#[test]
fn good_specs_decode() {
    for path in specs("specs") {
        let text = Text::read(&path).unwrap();
        let first = &text.text;
        assert!(first.starts_with("//") || first.starts_with("#!"), "{} does not say what it shows", path.display());
        if let Err(findings) = text.parse(&settings(&text)) {
            panic!("{}", text.draw(&findings));
        }
    }
}

#[test]
fn bad_specs_are_explained() {
    for path in specs("specs/bad") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let findings = parse(text.as_bytes()).expect_err(name);
        let drawn = render(name, &text, &findings, Colour::Never);
        with_snapshots(|| insta::assert_snapshot!(format!("bad_{}", name.trim_end_matches(".kdl")), drawn));
    }
}

#[test]
fn every_option_decodes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/everything.kdl");
    let spec = parse(&std::fs::read(path).unwrap()).unwrap();
    with_snapshots(|| insta::assert_snapshot!("everything", format!("{spec:#?}")));
}
