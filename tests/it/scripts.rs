//! Scripts that carry their spec, and specs that are scripts: as a shell starts them, with their own
//! arguments, streams and exit codes.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::harness::{Sbx, Who, skip};

const PYTHON: &str = "#!/usr/bin/env sbx\n# Says what it is given.\n# /// sbx\n# command \"python3\"\n\
    # mounts { bind \"data\" \"/data\"; }\n# ///\nimport sys\nprint(sys.argv[1:], open('/data').read(), sys.stdin.read())\n\
    sys.stderr.write('said\\n')\nsys.exit(7)\n";

/// A directory with a script in it that can be executed.
fn script(who: Who, name: &str, text: &str) -> Sbx {
    let sbx = Sbx::new(who).file("data", b"beside").file(name, text.as_bytes());
    std::fs::set_permissions(sbx.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    sbx
}

/// Has a shell start `call`, with sbx in its PATH.
fn called(sbx: Sbx, call: &str) -> Sbx {
    sbx.through(&format!("PATH=\"${{1%/*}}:$PATH\"; {call}"))
}

fn has_python() -> bool {
    let found = Path::new("/usr/bin/python3").exists();
    if !found {
        skip("no python3: apt-get install python3");
    }
    found
}

#[test]
fn a_script_has_its_own_arguments_streams_and_exit_code() {
    if !has_python() {
        return;
    }
    for who in Who::all() {
        for (name, call) in [
            ("tool.py", "./tool.py one 'two words' --report"),
            ("my tool.py", "\"./my tool.py\" one 'two words' --report"),
            ("tool", "PATH=.:$PATH; tool one 'two words' --report"),
            ("-x.py", "./-x.py one 'two words' --report"),
        ] {
            let ran = called(script(who, name, PYTHON), call).stdin(b"input").run();
            let expected = "['one', 'two words', '--report'] beside input\n";
            assert_eq!(
                (ran.code(), ran.stdout.as_str(), ran.stderr.as_str()),
                (7, expected, "said\n"),
                "{who:?} {ran:?}"
            );
        }
    }
}

#[test]
fn a_link_to_a_script_and_one_that_nobody_may_write_work() {
    if !has_python() {
        return;
    }
    for who in Who::all() {
        let sbx = script(who, "tool.py", PYTHON).dir("bin").file("bin/data", b"beside the link");
        std::fs::set_permissions(sbx.path("tool.py"), std::fs::Permissions::from_mode(0o555)).unwrap();
        symlink("../tool.py", sbx.path("bin/linked")).unwrap();
        let ran = called(sbx, "cd /; exec \"$HOME/bin/linked\" x").run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (7, "['x'] beside the link \n"), "{who:?} {ran:?}");
    }
}

#[test]
fn the_script_lies_inside_under_its_name_and_cannot_be_written() {
    let text = "#!/usr/bin/env sbx\n# /// sbx\n# command \"sh\"\n# ///\n\
        echo \"$0\"; (chmod u+w \"$0\" && echo x >> \"$0\") 2>/dev/null || echo kept\n";
    for who in Who::all() {
        let ran = called(script(who, "own.sh", text), "exec ./own.sh").run();
        assert_eq!(ran.stdout, "/run/sbx/own.sh\nkept\n", "{who:?} {ran:?}");
    }
}

#[test]
fn all_arguments_are_those_of_a_spec_that_has_a_command() {
    for who in Who::all() {
        let sbx = || script(who, "tool.kdl", "#!/usr/bin/env sbx\ncommand \"echo\" \"first\"\n");
        let ran = called(sbx(), "exec ./tool.kdl second -- third").run();
        assert_eq!(ran.stdout, "first second -- third\n", "{who:?}: {ran:?}");
        // Whose `--` it is cannot be seen, and `tool -- "$FILE"` is not to run a file of that name.
        let ran = called(sbx(), "exec ./tool.kdl -- id").run();
        assert_eq!(ran.stdout, "first -- id\n", "{who:?}: {ran:?}");
        let own = script(who, "own.sh", "#!/usr/bin/env sbx\n# /// sbx\n# command \"sh\"\n# ///\necho \"$@\"\n");
        assert_eq!(called(own, "exec ./own.sh -- id").run().stdout, "-- id\n", "{who:?}");
        let none = script(who, "none.kdl", "#!/usr/bin/env sbx\nhostname \"x\"\n");
        assert_eq!(called(none, "exec ./none.kdl -- echo other").run().stdout, "other\n", "{who:?}");
        let ran = sbx().through("\"$1\" run tool.kdl --report none -- echo other").run();
        assert_eq!(ran.stdout, "other\n", "{who:?}: {ran:?}");
    }
}

#[test]
fn nothing_is_said_of_a_reader_that_has_enough() {
    for who in Who::all() {
        let sbx = script(who, "all.kdl", "#!/usr/bin/env sbx\ncommand \"yes\"\n");
        let ran = called(sbx, "./all.kdl | head -n 1").run();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("y\n", ""), "{who:?}");
    }
}

#[test]
fn a_mistake_is_drawn_in_the_script() {
    for who in Who::all() {
        let text = "#!/usr/bin/env sbx\n\n# words\n# /// sbx\n# command \"sh\"\n# netwrok \"none\"\n# ///\nexit\n";
        let ran = called(script(who, "tool.sh", text), "exec ./tool.sh").run();
        assert_eq!(ran.code(), 125, "{ran:?}");
        let words = ["./tool.sh:6:3", "# netwrok \"none\"", "network"];
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{who:?} {}", ran.stderr);
        for (text, words) in [
            ("# /// sbx\n# command \"sh\"\nexit\n", "has no end"),
            ("# /// sbx\n# ///\nexit\n", "has no `command`"),
            ("# /// sbx\n# script \"true\"\n# ///\nexit\n", "is the script already"),
        ] {
            let ran = script(who, "tool.sh", text).verb(&["check"]).place("tool.sh").run();
            assert!(ran.code() == 125 && ran.stderr.contains(words), "{who:?} {words}: {ran:?}");
        }
        let ran = script(who, "tool.sh", text).verb(&["run"]).through("cat tool.sh | \"$1\" run -").run();
        assert!(ran.code() == 125 && ran.stderr.contains("netwrok"), "{ran:?}");
    }
}

#[test]
fn a_first_line_that_cannot_work_is_explained() {
    for who in Who::all() {
        let long = format!("#!/usr/bin/env -S sbx run --env A={}\ncommand \"true\"\n", "x".repeat(250));
        for (first, words) in [
            ("#!/usr/bin/env sbx run --memory 1G\ncommand \"true\"\n", "`#!/usr/bin/env -S sbx run --memory 1G`"),
            (long.as_str(), "255 bytes"),
            ("#!/usr/bin/env sbx\r\ncommand \"true\"\r\n", "`sbx\\r`"),
        ] {
            let ran = script(who, "tool.kdl", first).verb(&["check"]).place("tool.kdl").run();
            assert!(ran.code() == 0 && ran.stderr.contains(words), "{who:?}: {ran:?}");
        }
        for first in ["#!/usr/bin/env sbx", "#!/usr/bin/env -S sbx run --memory 1G", "#!/usr/bin/sbx", "#!/bin/sh -e x"]
        {
            let text = format!("{first}\ncommand \"true\"\n");
            let ran = script(who, "tool.kdl", &text).verb(&["check"]).place("tool.kdl").run();
            assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{who:?}: {first}");
        }
        // As the kernel passes what follows the name of the program: in one piece.
        let ran = script(who, "tool.kdl", "command \"true\"\n").verb(&["run --memory 1G", "tool.kdl"]).run();
        assert!(ran.code() == 2 && ran.stderr.contains("env -S sbx run --memory 1G"), "{who:?}: {ran:?}");
    }
}

/// A shell is told the script, not its first line.
#[test]
fn a_shell_may_read_it_and_it_may_be_moved() {
    for who in Who::all() {
        let text = "#!/usr/bin/env sbx\n# /// sbx\n# command \"sh\"\n# mounts { bind \"data\" \"/data\"; }\n# ///\n\
                    echo \"${SBX:-none} $(cat /data 2>/dev/null)\"\n";
        let ran = called(script(who, "tool.sh", text), "sh tool.sh").run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, "none \n"), "outside, as its comments say nothing to sh");
        let ran = called(script(who, "tool.sh", text).dir("bin"), "mv tool.sh data bin; exec bin/tool.sh").run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, "1 beside\n"), "{who:?} {ran:?}");
        // What it names is beside it, not where the caller is.
        let ran = called(script(who, "tool.sh", text).dir("bin"), "mv tool.sh bin; exec bin/tool.sh").run();
        assert!(ran.code() == 125 && ran.stderr.contains("bin/data` does not exist"), "{who:?} {ran:?}");
    }
}
