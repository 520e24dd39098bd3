//! Specs that extend others and have parameters: what results, that every place names its file, and that one flat
//! spec says the same.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sbx::app::request::Text;
use sbx::spec::input::{File, Input};
use sbx::spec::param::Setting;
use sbx::spec::parse::{parse, parse_files};
use sbx::spec::{Spec, format};

use crate::harness::{Sbx, Who};

const BASE: &str = "// base.kdl
param \"SIZE\" default=\"64M\"
param \"GREETING\"
hostname \"base\"
env A=\"1\" B=\"2\"
mounts {
    bind \"data\" \"/data\"
    tmpfs \"/work\" size=\"${SIZE}\"
}
limits {
    memory \"${SIZE}\"
    pids 20
}
best-effort \"memory\" \"pids\"
command \"sh\" \"-c\" \"echo ${GREETING} $A $B $${HOME}; hostname; cat /data\"
";

const OWN: &str = "extends \"common/base.kdl\"
param \"GREETING\" default=\"hi\"
hostname \"own\"
env B=\"3\"
limits {
    pids 30
}
";

/// A directory with `spec.kdl`, which extends `common/base.kdl`, and what that one binds.
fn family(who: Who, own: &str, base: &str) -> Sbx {
    let sbx =
        Sbx::new(who).dir("common").file("common/base.kdl", base.as_bytes()).file("common/data", b"beside base\n");
    sbx.file("spec.kdl", own.as_bytes())
}

/// Returns what `sbx check` says of a family that is wrong.
fn refusal(sbx: Sbx) -> String {
    let ran = sbx.verb(&["check"]).report(None).run();
    assert_eq!(ran.code(), 125, "{ran:?}");
    ran.stderr
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    let mut rest = said;
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("no `{part}` in turn in:\n{said}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn the_file_that_extends_wins_and_lists_add_up() {
    for who in Who::all() {
        let ran = family(who, OWN, BASE).run();
        assert_eq!(ran.ok(), "hi 1 3 /tmp\nown\nbeside base", "{who:?}");
        // The directory of the paths is that of the file, wherever sbx is called and the spec lies.
        let sbx =
            family(who, OWN, BASE).dir("deep").file("deep/spec.kdl", OWN.replace("common", "../common").as_bytes());
        assert_eq!(sbx.place("deep/spec.kdl").run().ok(), "hi 1 3 /tmp\nown\nbeside base", "{who:?}");
        let through = "extends \"spec.kdl\"\nparam SIZE default=\"1M\"\nmounts { file \"/data\" \"of the third\\n\"; }";
        let ran = family(who, OWN, BASE).file("third.kdl", through.as_bytes()).place("third.kdl").run();
        assert_eq!(ran.ok(), "hi 1 3 /tmp\nown\nof the third", "{who:?}");
    }
}

#[test]
fn home_and_absolute_paths_of_a_base_stay() {
    for who in Who::all() {
        let base = "mounts { bind \"~/common/data\" \"/a\"; bind \"@/common/data\" \"/b\"; bind \".\" \"/c\"; }";
        let sbx = Sbx::new(who);
        let base = base.replace('@', &sbx.path("").display().to_string());
        let sbx = sbx.dir("common").file("common/data", b"x\n").file("common/base.kdl", base.as_bytes());
        let sbx = sbx.spec("extends \"~/common/base.kdl\"").sh("cat /a /b /c/data");
        assert_eq!(sbx.run().ok(), "x\nx\nx", "{who:?}");
    }
}

#[test]
fn parameters_are_text_wherever_they_stand() {
    let spec = "param N default=\"3\"\nparam UID default=\"1000\"\nparam T default=\"a\\\" b=\\\"c\\n\\\"x\"\nparam E default=\"$${T}\"
user \"${UID}\" \"${UID}\"\nlimits { pids \"${N}\"; cpu \"${N}\"; }\nbest-effort \"pids\" \"cpu\"\nenv X=\"${T}\" Y=\"<${E}>\" Z=\"$X $$ $$${N}\"
command \"sh\" \"-c\" \"echo \\\"$X|$Y|$Z\\\"; id -u\"";
    for who in Who::all() {
        assert_eq!(Sbx::new(who).spec(spec).run().ok(), "a\" b=\"c\n\"x|<${T}>|$X $$ $3\n1000", "{who:?}");
        let set = ["--set", "T=${N}", "--set", "UID=7", "--set", "E="];
        assert_eq!(Sbx::new(who).spec(spec).flags(&set).run().ok(), "${N}|<>|$X $$ $3\n7", "{who:?}");
        // Without a parameter a spec is as it was.
        let plain = "script #\"\"\"\n  A=1; echo ${A} $${A}x ${A:-2} | sed \"s/^1 [0-9]*/1 pid/\"\n  \"\"\"#";
        assert_eq!(Sbx::new(who).spec(plain).run().ok(), "1 pid{A}x 1", "{who:?}");
    }
}

#[test]
fn what_is_wrong_with_a_parameter_is_shown_where_it_stands() {
    let own = |who, own: &str| refusal(family(who, own, BASE));
    for who in Who::all() {
        says(
            &own(who, "extends \"common/base.kdl\""),
            &[
                "the parameter `GREETING` is not set",
                "common/base.kdl:3:1",
                "--set GREETING=",
                "extended here",
                "spec.kdl:1:1",
            ],
        );
        says(
            &own(who, "extends \"common/base.kdl\"\nparam GREETING default=\"x\"\nparam SIZE"),
            &["`SIZE` is not set", "spec.kdl:3:1", "does not count", "common/base.kdl:2:14"],
        );
        says(
            &own(who, "param MEMORY default=\"1x\"\nlimits { memory \"${MEMORY}\"; }"),
            &["`1x` is not a size", "spec.kdl:2:17", "`MEMORY` is `1x` by default", "spec.kdl:1:14"],
        );
        says(
            &own(who, "param GREETING default=\"x\"\ncommand \"echo\" \"and ${GREETNG}\""),
            &["`${GREETNG}` names no parameter", "spec.kdl:2:21", "did you mean `GREETING`?", "$${"],
        );
        says(
            &own(who, "param A default=\"${B}\"\nparam A\nparam \"a b\"\nparam C default=1"),
            &[
                "`${B}` within a default",
                "spec.kdl:1:9",
                "comes twice",
                "spec.kdl:2:1",
                "the first one",
                "spec.kdl:1:1",
                "`a b` is not the name of a parameter",
                "spec.kdl:3:7",
                "a text is needed",
                "spec.kdl:4:17",
            ],
        );
        let set = |words: &[&str]| {
            let ran = family(who, OWN, BASE).verb(&["check"]).report(None).flags(words).run();
            assert!(matches!(ran.code(), 2 | 125), "{words:?} {ran:?}");
            ran.stderr
        };
        says(&set(&["--set", "SIEZ=1"]), &["no parameter `SIEZ`", "base.kdl:2:", "did you mean `SIZE`?"]);
        says(
            &set(&["--set", "SIZE=x"]),
            &["`x` is not a size", "base.kdl:8:", "`SIZE` is `x` by `--set`", "spec.kdl:1:1"],
        );
        says(&set(&["--set", "SIZE"]), &["`--set SIZE`: must be NAME=VALUE"]);
        says(&set(&["--set", "SIZE=1M", "--set", "SIZE=2M"]), &["`--set SIZE=2M`: the parameter is set twice"]);
    }
}

#[test]
fn a_file_that_cannot_be_extended_is_shown_with_who_names_it() {
    for who in Who::all() {
        let base = |base: &str| family(who, "extends \"common/base.kdl\"", base);
        says(
            &refusal(base("extends \"../spec.kdl\"")),
            &["extends itself", "base.kdl:1:1", "extended here", "spec.kdl:1:1"],
        );
        says(&refusal(base("extends \"base.kdl\"")), &["extends itself", "base.kdl:1:1", "spec.kdl:1:1"]);
        says(
            &refusal(base("hostnam \"x\"\nextends \"none.kdl\"")),
            &[
                "unknown node `hostnam`",
                "base.kdl:1:1",
                "cannot read",
                "common/none.kdl",
                "base.kdl:2:1",
                "No such file",
                "spec.kdl:1:1",
            ],
        );
        says(
            &refusal(base("extends \"a\"\nextends \"b\"")),
            &["comes twice", "base.kdl:2:1", "the first one", "base.kdl:1:1"],
        );
        says(&refusal(base("extends \"${X}.kdl\"")), &["not replaced in `extends`"]);
        says(&refusal(base("extends \".\"")), &["is not a regular file", "base.kdl:1:1"]);
        says(&refusal(base("extends \"/dev/zero\"")), &["is not a regular file"]);
        says(&refusal(base("extends")), &["`extends` needs a path"]);
        says(&refusal(base("# /// sbx\n# ///\n")), &["base.kdl` is a script"]);
        let fifo = base("extends \"fifo\"");
        nix::unistd::mkfifo(&fifo.path("common/fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
        says(&refusal(fifo), &["is not a regular file"]);
        let large = "// ".to_owned() + &"x".repeat(1 << 20);
        says(&refusal(base(&large)), &["is larger than 1 MiB", "spec.kdl:1:1"]);
        let mut deep = base("");
        for number in 0..9 {
            let text = format!("extends \"../{}/base.kdl\"", number + 1);
            deep = deep.dir(&number.to_string()).file(&format!("{number}/base.kdl"), text.as_bytes());
        }
        let deep = deep.dir("9").file("9/base.kdl", b"").file("spec.kdl", b"extends \"0/base.kdl\"");
        says(&refusal(deep), &["at most 8 others", "7/base.kdl:1:1", "6/base.kdl:1:1", "spec.kdl:1:1"]);
    }
}

#[test]
fn plan_report_and_error_name_the_file() {
    for who in Who::all() {
        let sbx = family(who, OWN, BASE).verb(&["plan"]).report(None);
        let plan = sbx.run();
        says(&plan.stdout, &["hostname own", "spec.kdl:3\n", "/data from", "common/base.kdl:7\n"]);
        let json = family(who, OWN, BASE).verb(&["plan", "--json"]).report(None).run().stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let step = json["steps"].as_array().unwrap().iter().find(|step| step["path"] == "/work").unwrap().clone();
        assert!(step["origin"]["file"].as_str().unwrap().ends_with("common/base.kdl"), "{step}");
        assert_eq!((&step["origin"]["line"], &step["origin"]["column"]), (&8.into(), &5.into()));
        let sbx = family(who, OWN, &BASE.replace("bind \"data\"", "bind \"gone\""));
        let ran = sbx.run();
        assert_eq!(ran.code(), 125, "{ran:?}");
        says(&ran.stderr, &["common/gone` does not exist", "common/base.kdl:7:5"]);
        let error = &ran.report["outcome"]["error"];
        assert!(error["file"].as_str().unwrap().ends_with("common/base.kdl"), "{error}");
        assert_eq!((&error["line"], &error["column"]), (&7.into(), &5.into()));
        // What `cat spec.kdl common/base.kdl | sha256sum` says.
        let both = [sbx.read("spec.kdl"), sbx.read("common/base.kdl")].concat();
        let summed = Sbx::new(who).stdin(both.as_bytes()).spec("").cmd(&["sha256sum"]).run().ok().to_owned();
        assert_eq!(summed.split(' ').next().unwrap(), ran.report["spec"]["sha256"].as_str().unwrap());
    }
}

#[test]
fn a_mistake_of_a_base_is_in_the_report() {
    for who in Who::all() {
        let ran = family(who, OWN, &BASE.replace("pids 20", "pids 20 30")).run();
        let mistake = &ran.report["outcome"]["mistakes"][0];
        assert!(mistake["file"].as_str().unwrap().ends_with("common/base.kdl"), "{ran:?}");
        assert_eq!(mistake["line"], 12, "{ran:?}");
    }
}

/// As the spec itself: who writes it decides what the next run may do.
#[test]
fn a_base_is_read_only_inside() {
    for who in Who::all() {
        let sbx =
            family(who, "extends \"link.kdl\"\nmounts { bind \".\" \"/src\" access=\"rw\"; }", "hostname \"base\"");
        symlink("common/base.kdl", sbx.path("link.kdl")).unwrap();
        let attack = "cd /src; for file in common/base.kdl spec.kdl; do echo x > $file; rm -f $file; mv $file y; done
            rm -f link.kdl; mv common away; echo new > common/new; cat common/new";
        let sbx = sbx.sh(&format!("{{ {attack}; }} 2>/dev/null"));
        assert_eq!(sbx.run().stdout, "new\n", "{who:?}");
        assert_eq!(sbx.read("link.kdl"), "hostname \"base\"", "{who:?}");
    }
}

/// Returns a spec as text without its places, which differ from file to file.
fn placeless(spec: &Spec) -> String {
    let text = format!("{spec:?}");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("Spec(Span {") {
        out.push_str(&rest[..at]);
        rest = &rest[at..][rest[at..].find("})").unwrap() + 2..];
    }
    out + rest
}

/// Every option of the language has its paths begin at the file's own directory.
#[test]
fn all_relative_paths_of_a_base_are_moved() {
    let text = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/everything.kdl")).unwrap();
    let own = b"extends \"x\"".as_slice();
    let files = [File { text: own, start: 0, directory: "" }, File { text: &text, start: 20, directory: "./sub" }];
    let moved = parse_files(Input { files: &files, ..Input::default() }).unwrap();
    let mut expected = placeless(&parse(&text).unwrap());
    let mut at = 0;
    let mut paths = 0;
    while let Some(found) = expected[at..].find("HostPath(\"") {
        at += found + "HostPath(\"".len();
        // A parent of groups is a path of the group's file system.
        let cgroup = expected[..at].ends_with("cgroup: Some(Spanned { value: HostPath(\"");
        if !expected[at..].starts_with(['/', '~']) && !cgroup {
            expected.insert_str(at, "./sub/");
            paths += 1;
        }
    }
    assert!(paths > 4, "{paths} relative paths: {expected}");
    assert_eq!(placeless(&moved), expected);
}

/// Returns the good specs of the package, and some that extend.
fn fixtures(directory: &Path) -> Vec<PathBuf> {
    let mut paths = [crate::spec::specs("specs"), crate::spec::specs("src/app/purposes")].concat();
    std::fs::create_dir(directory.join("common")).unwrap();
    for (name, text) in [
        ("common/base.kdl", BASE),
        ("own.kdl", OWN),
        (
            "replaces.kdl",
            "extends \"own.kdl\"\nscript #\"\"\"\n  a \"${GREETING}\"\n\n    b\n  \"\"\"#\nmounts { dir \"/data/\"; }\nsecret A env=\"B\"",
        ),
        (
            "odd.kdl",
            "env \"a-b\"=\"\\u{202e}\\u{7}\" \"1\"=\"\\n\" c=\" \\n\"\nscript \"\"\"\n  x \\\"\\\"\\\"# y\n  z\\u{0}\n  \"\"\"",
        ),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
        paths.push(directory.join(name));
    }
    paths
}

#[test]
fn the_flat_spec_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for path in fixtures(directory.path()) {
        let text = Text::read(&path).unwrap();
        let greeting = [Setting { name: "GREETING".to_owned(), value: "a \"b\" ${c}\n d".to_owned() }];
        let greets = text.text.contains("GREETING") || path.ends_with("replaces.kdl");
        let settings = [if greets { greeting.as_slice() } else { &[] }, &crate::spec::settings(&text)].concat();
        let flat = text.flatten(&settings).unwrap_or_else(|findings| panic!("{}", text.draw(&findings)));
        let spec = text.parse(&settings).unwrap();
        let again =
            parse(flat.as_bytes()).unwrap_or_else(|findings| panic!("{}: {findings:?}\n{flat}", path.display()));
        assert_eq!(placeless(&again), placeless(&spec), "{}\n{flat}", path.display());
        assert_eq!(format::format(flat.as_bytes()).unwrap(), flat, "{}: the form", path.display());
    }
}

#[test]
fn the_flat_spec_is_shown_with_who_says_what() {
    for who in Who::all() {
        let sbx = family(who, OWN, BASE).verb(&["plan", "--flat", "--set", "SIZE=1M"]).report(None);
        let here = sbx.path("").display().to_string();
        let flat = sbx.run().stdout.replace(&format!("{here}/"), "");
        insta::allow_duplicates! {
            insta::assert_snapshot!(flat, @r#"
            // param GREETING "hi", spec.kdl:2
            // param SIZE "1M", --set, instead of common/base.kdl:2
            env A="1" // common/base.kdl:5
            mounts {
                bind "./common/data" "/data" // common/base.kdl:7
                tmpfs "/work" size="1M" // common/base.kdl:8
            }
            best-effort "memory" "pids" // common/base.kdl:14
            command "sh" "-c" "echo hi $A $B ${HOME}; hostname; cat /data" // common/base.kdl:15
            hostname "own" // spec.kdl:3, instead of common/base.kdl:4
            env B="3" // spec.kdl:4, instead of common/base.kdl:5
            limits {
                memory "1M" // common/base.kdl:11
                pids 30 // spec.kdl:6, instead of common/base.kdl:12
            }
            "#);
        }
        // It stands for both: the same plan but for who said it.
        let flat = sbx.run().stdout;
        let plan = |sbx: Sbx| {
            let plan = sbx.verb(&["plan", "--json"]).report(None).run().stdout;
            let mut plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
            let groups = plan["cgroup"].as_array_mut().unwrap().iter_mut();
            groups.flat_map(|group| group["settings"].as_array_mut().unwrap()).for_each(|it| it["origin"] = 0.into());
            plan["steps"].as_array_mut().unwrap().iter_mut().for_each(|it| it["origin"] = 0.into());
            plan.to_string()
        };
        let both = plan(family(who, OWN, BASE).flags(&["--set", "SIZE=1M"]));
        let sbx = family(who, &flat, "");
        let there = sbx.path("").display().to_string();
        let one = plan(sbx);
        let same = |plan: &str, home: &str| plan.replace(home, "HOME");
        assert!(one.contains("steps") && both.contains("1048576"));
        // Each family lives in a directory of its own.
        let first = both.split("sbx-e2e-").nth(1).unwrap()[..6].to_owned();
        let second = there.split("sbx-e2e-").nth(1).unwrap()[..6].to_owned();
        assert_eq!(same(&one, &second), same(&both, &first), "{who:?}");
    }
}

#[test]
fn a_script_may_extend_and_its_flat_spec_runs_it() {
    for who in Who::all() {
        let script = "#!/usr/bin/env sbx\n# /// sbx\n# extends \"common/base.kdl\"\n# param GREETING default=\"x\"\n# command \"sh\"\n# ///\ncat /data; hostname; echo \"$0 $1\"\n";
        let sbx = family(who, "", BASE).file("tool.sh", script.as_bytes()).place("tool.sh");
        assert_eq!(sbx.run().ok(), "beside base\nbase\n/run/sbx/tool.sh ", "{who:?}");
        let sbx = sbx.verb(&["plan", "--flat"]).report(None);
        let flat = sbx.run().stdout;
        let bind = "bind \"tool.sh\" \"/run/sbx/tool.sh\" // ";
        says(&flat, &[bind, "tool.sh:5", "command \"sh\" \"/run/sbx/tool.sh\" // ", "tool.sh:5"]);
        // By itself, beside the script.
        let sbx = family(who, &flat, BASE).file("tool.sh", script.as_bytes());
        assert_eq!(sbx.run().ok(), "beside base\nbase\n/run/sbx/tool.sh ", "{who:?}: {flat}");
        let wrong = script.replace("param GREETING", "param GREETNG");
        let wrong = || family(who, "", BASE).file("tool.sh", wrong.as_bytes()).place("tool.sh").report(None);
        for verb in [&["check"][..], &["plan", "--flat"]] {
            let ran = wrong().verb(verb).run();
            says(&ran.stderr, &["`GREETING` is not set", "base.kdl:3:1", "extended here", "tool.sh:3:3"]);
        }
    }
}
