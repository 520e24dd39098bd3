//! The examples of docs/runners.md, as they stand there, and the scripts of the action against a release that is made here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::docs::copy_program;
use crate::harness::skip;

const DOCUMENT: &str = "docs/runners.md";

fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the blocks of the document: the section, what stands behind the marks, the text.
fn blocks() -> Vec<(String, String, String)> {
    let (mut section, mut open, mut found) = (String::new(), None::<(String, String)>, Vec::new());
    for line in std::fs::read_to_string(package(DOCUMENT)).unwrap().lines() {
        match (&mut open, line.strip_prefix("```"), line.strip_prefix("## ")) {
            (Some(_), Some(_), _) => found.extend(open.take().map(|(info, text)| (section.clone(), info, text))),
            (Some((_, text)), None, _) => text.extend([line, "\n"]),
            (None, Some(info), _) => open = Some((info.to_owned(), String::new())),
            (None, None, Some(title)) => section = title.to_owned(),
            _ => {}
        }
    }
    found
}

/// Returns the name of the file that a block is: `# NAME` or `// NAME: …` in its first lines.
fn file_of(text: &str) -> Option<String> {
    let line = text.lines().find(|line| !line.starts_with("#!"))?;
    let word = line.strip_prefix("// ").or(line.strip_prefix("# "))?.split(' ').next()?;
    let name = word.trim_end_matches(':');
    (name.contains('.') || name == "Makefile").then(|| name.to_owned())
}

/// A directory with sbx and all files of the document in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::Builder::new().prefix("sbx-runners-").tempdir_in("/tmp").unwrap());
        copy_program(&place.file("bin/sbx", ""));
        for (_, _, text) in blocks() {
            if let Some(name) = file_of(&text) {
                place.file(&name, &text);
            }
        }
        place
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn sh(&self, script: &str) -> Output {
        let cargo = Path::new(env!("CARGO")).parent().unwrap().display();
        let path = format!("{}/bin:{cargo}:/usr/local/bin:/usr/bin:/bin", self.0.path().display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(self.0.path()).env_clear().env("PATH", path);
        for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.output().unwrap()
    }

    /// Runs the commands of a section.
    fn section(&self, title: &str) -> (String, i32) {
        let commands: Vec<_> = blocks()
            .into_iter()
            .filter(|(section, info, text)| section == title && info == "sh" && file_of(text).is_none())
            .map(|(_, _, text)| text)
            .collect();
        assert!(!commands.is_empty(), "{DOCUMENT} has no commands under `{title}`");
        let output = self.sh(&commands.concat());
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (text, output.status.code().unwrap())
    }
}

fn lacks(program: &str, arguments: &[&str]) -> bool {
    let there = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
        skip(&format!("no {program} {}", arguments.join(" ")));
    }
    !there
}

/// A crate whose tests say where they are, and one of which fails.
fn with_crate(place: &Place) {
    place.file("Cargo.toml", "[package]\nname = \"tried\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n");
    place.file("src/main.rs", "fn main() { println!(\"inside: {:?}\", std::env::var(\"SBX\")); }");
    let tests = r#"
#[test] fn inside() { assert_eq!(std::env::var("SBX").unwrap(), "1"); }
#[test] fn nothing_is_written_here() { assert!(std::fs::write("new", "x").is_err()); }
#[test] fn there_is_a_place_to_write() { std::fs::write(std::env::temp_dir().join("new"), "x").unwrap(); }
#[test] fn sources_can_be_read() { assert!(std::fs::read_to_string("Cargo.toml").unwrap().contains("tried")); }
"#;
    place.file("tests/tried.rs", tests);
}

#[test]
fn cargo() {
    if lacks(env!("CARGO"), &["--version"]) {
        return;
    }
    let place = Place::new();
    with_crate(&place);
    let (text, status) = place.section("cargo");
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("4 passed; 0 failed") && text.contains("inside: Ok(\"1\")"), "{text}");
    place.file("tests/tried.rs", "#[test] fn fails() { panic!() }");
    let output = place.sh("cargo test");
    assert_eq!(output.status.code(), Some(101), "{output:?}");
}

/// Of Debian's packages, offline: what bazel would fetch for coverage is an empty repository here, and the rule is one of
/// its own, since `sh_test` wants rules that bazel fetches too.
#[test]
fn bazel() {
    if lacks("bazel", &["--version"]) {
        return;
    }
    let place = Place::new();
    let here = place.0.path().display().to_string();
    place.file("WORKSPACE", "");
    place.file("coverage/WORKSPACE", "");
    place.file(
        "coverage/BUILD",
        "filegroup(name = \"coverage_report_generator\", visibility = [\"//visibility:public\"])\n",
    );
    place.file(".bazelignore", "coverage\nbase\nbin\n");
    place.file(
        ".bazelrc",
        &format!(
            "startup --output_user_root={here}/base --max_idle_secs=5\n\
             test --override_repository=remote_coverage_tools={here}/coverage --test_output=all\n"
        ),
    );
    place.file(
        "rule.bzl",
        "def _run(ctx):\n    out = ctx.actions.declare_file(ctx.label.name + \".run\")\n    \
         ctx.actions.symlink(output = out, target_file = ctx.file.src, is_executable = True)\n    \
         return [DefaultInfo(executable = out, runfiles = ctx.runfiles([ctx.file.src]))]\n\
         script_test = rule(implementation = _run, test = True, attrs = {\"src\": attr.label(allow_single_file = True)})\n",
    );
    place.file(
        "BUILD",
        "load(\"//:rule.bzl\", \"script_test\")\nscript_test(name = \"good_test\", src = \"good.sh\")\n\
         script_test(name = \"bad_test\", src = \"bad.sh\")\n",
    );
    place.file("good.sh", "#!/bin/sh\n[ \"$(hostname)\" = sbx ] && ! ls /root 2>/dev/null && echo inside\n");
    place.file("bad.sh", "#!/bin/sh\nls /root\n");
    let spec = std::fs::read_to_string(place.0.path().join("sandbox.kdl")).unwrap();
    let mounts = blocks().into_iter().find(|(section, info, _)| section == "bazel" && info == "kdl").unwrap().2;
    let mounts = mounts.replace("/home/you/.cache/bazel", &format!("{here}/base"));
    place.file("sandbox.kdl", &(spec + &mounts.replace("/home/you/workspace", &here)));
    let (text, status) = place.section("bazel");
    place.sh("bazel shutdown");
    // Files of its own are read-only.
    place.sh("chmod -R u+w base");
    assert_eq!(status, 3, "some tests failed: {text}");
    let results: Vec<_> = text.lines().filter(|line| line.starts_with("//:")).collect();
    assert!(results.len() == 2 && results[0].contains("PASSED") && results[1].contains("FAILED"), "{text}");
    assert!(text.contains("\ninside\n") && text.contains("cannot access '/root'"), "{text}");
}

#[test]
fn nextest() {
    if lacks("cargo", &["nextest", "--version"]) {
        return;
    }
    let place = Place::new();
    with_crate(&place);
    let (text, status) = place.section("cargo-nextest");
    assert!(status == 0 && text.contains("4 passed"), "{text}");
}

/// Four scripts, one of which fails.
fn with_scripts(place: &Place) {
    for (name, text) in [
        ("a", "test \"$SBX\" = 1"),
        ("b", "sleep 0.1"),
        ("c", "touch t/new 2>/dev/null || exit 0; exit 1"),
        ("d", "exit 3"),
    ] {
        place.file(&format!("t/{name}.sh"), text);
    }
}

#[test]
fn make() {
    if lacks("make", &["--version"]) {
        return;
    }
    let place = Place::new();
    with_scripts(&place);
    let (text, status) = place.section("make -j");
    let made = ["a", "b", "c", "d"].map(|name| place.0.path().join(format!("t/{name}.ok")).exists());
    assert_eq!((status, made), (2, [true, true, true, false]), "{text}");
    place.file("t/d.sh", "exit 0");
    let (text, status) = place.section("make -j");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn xargs() {
    let place = Place::new();
    with_scripts(&place);
    let (text, status) = place.section("xargs -P");
    assert_eq!(status, 123, "{text}");
    place.file("t/d.sh", "exit 0");
    let (text, status) = place.section("xargs -P");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn pytest() {
    if lacks("/usr/bin/python3", &["-m", "pytest", "--version"]) {
        return;
    }
    let place = Place::new();
    let tests = "import os, pytest\n\
                 def test_inside(): assert os.environ['SBX'] == '1' and not os.path.exists('/home/x')\n\
                 def test_place(tmp_path): (tmp_path / 'a').write_text('x')\n\
                 @pytest.mark.parametrize('number', [1, 2])\n\
                 def test_number(number): assert number > 0\n\
                 def test_wrong(): open('new', 'w')\n\
                 def test_left_out(): pytest.skip('not today')\n\
                 @pytest.mark.skip\n\
                 def test_marked(): assert False\n\
                 @pytest.mark.xfail\n\
                 def test_known(): assert False\n\
                 @pytest.fixture\n\
                 def outside(): assert os.environ['SBX'] == '1'\n\
                 def test_fixture(outside): pass\n";
    place.file("test_tried.py", tests);
    let classes = "import os, unittest\n\
                   class Case(unittest.TestCase):\n    \
                       @classmethod\n    \
                       def setUpClass(cls): assert os.environ['SBX'] == '1'\n    \
                       def test_inside(self): self.assertEqual(os.environ['SBX'], '1')\n    \
                       def test_wrong(self): open('new', 'w')\n    \
                       def test_left_out(self): self.skipTest('not today')\n    \
                       @unittest.expectedFailure\n    \
                       def test_known(self): self.fail()\n";
    place.file("sub/test_classes.py", classes);
    place.file("sub/test_ends.py", "import os\ndef test_ends(): os._exit(0)\n");
    let (text, status) = place.section("pytest");
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("3 failed, 6 passed, 3 skipped, 2 xfailed"), "{text}");
    assert!(text.matches("Read-only file system").count() >= 2 && !place.0.path().join("new").exists(), "{text}");
    assert!(text.contains("sbx ended with 0 and no result"), "{text}");
    // By its own path, from where the files lie.
    let output = place.sh("cd sub && python3 -m pytest -p no:cacheprovider test_classes.py::Case::test_inside");
    assert!(output.status.success(), "{output:?}");
}

/// A release as the action expects it.
fn release(place: &Place) -> String {
    let output = place.sh(
        "mkdir -p releases/latest/download releases/download/v0.1.0 && tar -C bin -czf sbx-x86_64-linux.tar.gz sbx &&
         sha256sum sbx-x86_64-linux.tar.gz > SHA256SUMS && cp sbx-x86_64-linux.tar.gz SHA256SUMS releases/latest/download &&
         mv sbx-x86_64-linux.tar.gz SHA256SUMS releases/download/v0.1.0 && rm bin/sbx",
    );
    assert!(output.status.success(), "{output:?}");
    format!("file://{}/releases", place.0.path().display())
}

fn script(place: &Place, name: &str, env: &str) -> Output {
    place.sh(&format!(
        "mkdir -p temp; RUNNER_TEMP=$PWD/temp GITHUB_PATH=$PWD/path.txt GITHUB_OUTPUT=$PWD/out.txt {env} bash {}",
        package(name).display()
    ))
}

#[test]
fn the_action_installs_allows_and_runs() {
    if lacks("curl", &["--version"]) || lacks("bash", &["--version"]) {
        return;
    }
    let place = Place::new();
    let releases = release(&place);
    for version in ["latest", "v0.1.0"] {
        let installed = script(&place, "action/install.sh", &format!("SBX_RELEASES={releases} SBX_VERSION={version}"));
        assert!(installed.status.success(), "{installed:?}");
        assert!(String::from_utf8_lossy(&installed.stdout).starts_with("sbx 0."), "{installed:?}");
    }
    let path = std::fs::read_to_string(place.0.path().join("path.txt")).unwrap();
    assert!(path.lines().all(|line| line.ends_with("/temp/sbx")) && path.lines().count() == 2, "{path}");

    place.file("sysctl/apparmor_restrict_unprivileged_userns", "1\n");
    assert!(script(&place, "action/allow.sh", "SBX_SYSCTL=sysctl").status.success());
    let setting = place.0.path().join("sysctl/apparmor_restrict_unprivileged_userns");
    assert_eq!(std::fs::read_to_string(setting).unwrap(), "0\n");
    assert!(
        script(&place, "action/allow.sh", "SBX_SYSCTL=nowhere").status.success(),
        "a kernel that knows no such thing"
    );

    place.file("a dir/x.sbx.kdl", "command \"true\"\ntest \"a\" {}\n");
    place.file("t/a.sbx.kdl", "test \"a\" { command \"true\"; }\ntest \"*\" { command \"false\"; }\n");
    let env = "PATH=$PWD/temp/sbx:$PATH SBX_PATHS=t SBX_JUNIT=j.xml GITHUB_ACTIONS=true GITHUB_STEP_SUMMARY=sum.md";
    let ran = script(&place, "action/test.sh", &format!("{env} SBX_ARGS='--retries 1 -f *'"));
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(1) && said.contains("::error file=t/a.sbx.kdl,line=2"), "{ran:?}");
    let read = |name: &str| std::fs::read_to_string(place.0.path().join(name)).unwrap();
    assert!(read("j.xml").contains("tests=\"1\"") && read("sum.md").contains("| failed |"), "{said}");
    assert_eq!(read("out.txt"), "junit=j.xml\n");

    // Lines and quotes are as in a shell, and nothing of them is executed.
    place.file("u/b.sbx.kdl", "test \"two words\" { command \"false\"; }\ntest \"other\" { command \"false\"; }\n");
    let words = "SBX_PATHS='a dir/x.sbx.kdl'";
    let env = "PATH=$PWD/temp/sbx:$PATH SBX_JUNIT=j.xml";
    let of = |rest: &str| script(&place, "action/test.sh", &format!("{env} {rest}"));
    let ran = of("SBX_PATHS=\"'a dir'\nu\n\" SBX_ARGS=\"-f 'two words' -f '::a' -f '\\$(touch made)'\"");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(1) && said.contains("1 passed, 1 failed"), "{ran:?}");
    assert!(!place.0.path().join("made").exists());
    let ran = of(&format!("{words} SBX_ARGS=\"-f 'x\""));
    assert!(!ran.status.success() && !String::from_utf8_lossy(&ran.stderr).contains("PASS"), "{ran:?}");
}

#[test]
fn the_action_executes_nothing_that_its_checksum_does_not_name() {
    if lacks("curl", &["--version"]) {
        return;
    }
    for spoil in [
        "printf x >> latest/download/sbx-x86_64-linux.tar.gz",
        ": > latest/download/SHA256SUMS",
        "rm latest/download/SHA256SUMS",
    ] {
        let place = Place::new();
        let releases = release(&place);
        assert!(place.sh(&format!("cd releases && {spoil}")).status.success());
        let installed = script(&place, "action/install.sh", &format!("SBX_RELEASES={releases} SBX_VERSION=latest"));
        assert!(!installed.status.success(), "{spoil}: {installed:?}");
        let said = String::from_utf8_lossy(&installed.stdout).into_owned();
        assert!(!said.contains("sbx 0.") && !place.0.path().join("path.txt").exists(), "{spoil}: {said}");
    }
}

/// The steps call these scripts and nothing else, so what is tested here is what runs there.
#[test]
fn the_action_is_its_scripts() {
    let text = std::fs::read_to_string(package("action.yml")).unwrap();
    let steps: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("run: ")).collect();
    let expected = ["install", "allow", "test"].map(|name| format!("bash \"$GITHUB_ACTION_PATH/action/{name}.sh\""));
    assert_eq!(steps, expected);
    for name in ["install", "allow", "test"] {
        let checked = Command::new("bash").arg("-n").arg(package(&format!("action/{name}.sh"))).output();
        assert!(checked.is_ok_and(|output| output.status.success()), "{name}");
    }
    // What the scripts read is what the steps give, or the runner.
    for variable in ["SBX_VERSION", "SBX_RELEASES", "SBX_PATHS", "SBX_ARGS", "SBX_JUNIT"] {
        assert!(text.contains(&format!("        {variable}: ")), "{variable}");
    }
    // By a reader of YAML where there is one.
    let script =
        "import sys, yaml; d = yaml.safe_load(open(sys.argv[1])); print(d['runs']['using'], len(d['runs']['steps']))";
    let read = Command::new("/usr/bin/python3").args(["-c", script]).arg(package("action.yml")).output();
    match read {
        Ok(output) if output.status.success() => assert_eq!(String::from_utf8_lossy(&output.stdout), "composite 3\n"),
        _ => skip("no python3 with yaml"),
    }
}
