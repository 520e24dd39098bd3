//! What the program says of itself: help, man page, completions. The doc comments of
//! the command line are the one source of all of them.

use std::process::Command;

fn sbx(arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sbx"));
    let done = command.args(arguments).env("NO_COLOR", "1").env("COLUMNS", "100").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(done.stdout), text(done.stderr), done.status.code())
}

#[test]
fn help_of_the_program_and_of_run() {
    for (name, arguments) in [
        ("help", &["--help"][..]),
        ("help_run", &["run", "--help"]),
        ("help_plan", &["plan", "--help"]),
        ("help_test", &["test", "--help"]),
    ] {
        let (text, complaints, status) = sbx(arguments);
        assert_eq!((complaints.as_str(), status), ("", Some(0)));
        crate::spec::with_snapshots(|| insta::assert_snapshot!(name, text));
    }
}

#[test]
fn every_verb_is_in_the_man_page_and_the_completions() {
    let (page, _, status) = sbx(&["man"]);
    assert!(status == Some(0) && page.contains(".TH sbx 1"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let (script, _, status) = sbx(&["completions", shell]);
        assert_eq!(status, Some(0));
        for verb in ["run", "check", "plan", "test", "doctor", "gc", "image", "schema", "completions", "man"] {
            assert!(script.contains(verb), "the completions for {shell} do not know `{verb}`");
            assert!(page.contains(verb), "the man page does not know `{verb}`");
        }
        for flag in ["--report", "--memory", "--capture", "--junit", "--fail-fast"] {
            // fish writes `-l report`.
            assert!(script.contains(flag) || script.contains(&flag.replacen("--", "-l ", 1)), "{shell}: `{flag}`");
        }
    }
}

#[test]
fn wrong_usage_is_status_2_and_says_what_to_type() {
    for (arguments, expected) in [
        (&[][..], "Usage: sbx <COMMAND>"),
        (&["run"][..], "<SPEC>"),
        (&["chekc", "specs/hello.kdl"], "similar subcommands exist: 'schema', 'check'"),
        (&["run", "specs/hello.kdl", "echo", "hi"], "the command follows `--`: `sbx run SPEC -- echo …`"),
        (&["run", "specs/hello.kdl", "--memroy", "1G"], "'--memory'"),
        (&["run", "specs/hello.kdl", "--memory", "lots"], "`lots` is not a size"),
    ] {
        let (said, complaints, status) = sbx(arguments);
        assert_eq!((said.as_str(), status), ("", Some(2)), "{arguments:?}: {complaints}");
        assert!(complaints.contains(expected), "{arguments:?}: {complaints}");
    }
}

#[test]
fn colour_only_for_a_terminal_that_wants_it() {
    let (_, plain, _) = sbx(&["check", "specs/bad/words.kdl"]);
    assert!(plain.contains("error") && !plain.contains('\x1b'), "{plain}");
    let forced = Command::new(env!("CARGO_BIN_EXE_sbx"))
        .args(["check", "specs/bad/words.kdl"])
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(String::from_utf8(forced.stderr).unwrap().contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let script = format!(
        "exec 2>&1; {{ {0} plan specs/hello.kdl; echo status $? >&2; }} | head -n 1",
        env!("CARGO_BIN_EXE_sbx")
    );
    let done = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("status 0") || !text.contains("sbx:"), "{text}");
}

#[test]
fn a_set_id_program_refuses_to_run() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let place = tempfile::Builder::new().prefix("sbx-set-id-").tempdir_in("/tmp").unwrap();
    let nosuid =
        nix::sys::statvfs::statvfs(place.path()).unwrap().flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID);
    if !nix::unistd::geteuid().is_root() || nosuid {
        crate::skip("a set-id program needs root to make it, and a /tmp without nosuid");
        return;
    }
    let copy = place.path().join("sbx");
    crate::docs::copy_program(&copy);
    let allow =
        |path: &std::path::Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(place.path(), 0o755);
    for mode in [0o4755, 0o2755] {
        allow(&copy, mode);
        let done = Command::new(&copy).arg("doctor").uid(65534).gid(65534).output().unwrap();
        assert_eq!((done.stdout.as_slice(), done.status.code()), (&b""[..], Some(125)));
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(said.starts_with("sbx: this program is set-id"), "{said}");
    }
}
