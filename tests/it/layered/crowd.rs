//! Many first runs of one image at once, half of which are killed: what is left is whole.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::maker::{image, kept, shell};
use crate::fixture;
use crate::harness::{Sbx, Who};
use crate::image::arena::{dir, file, tar};

const RUNS: u64 = 200;
const SCRIPT: &str = "cat /a /b /c; test -e /gone || set -- /d/*; echo $#";

/// Three layers, the first of many small files, so that it takes a while.
fn layers() -> Vec<Vec<u8>> {
    let many = (0..400).map(|number| file(&format!("d/{number}"), &"x".repeat(number * 7)));
    vec![
        tar(&[vec![dir("d"), file("a", "1"), file("gone", "0")], many.collect()].concat()),
        tar(&[file("b", "2"), file(".wh.gone", "")]),
        tar(&[file("c", "3"), dir("d")]),
    ]
}

fn command(sbx: &Sbx, words: &[&str]) -> Command {
    let mut command = Command::new(fixture::binary());
    command.args(words).env_clear().env("SBX_STORE", sbx.path("store")).env("HOME", sbx.path("")).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if nix::unistd::geteuid().is_root() {
        command.uid(sbx.who().uid()).gid(sbx.who().gid());
    }
    command
}

fn run(sbx: &Sbx, killed_after: Option<Duration>) -> Output {
    let spec = sbx.path("spec.kdl").display().to_string();
    let words = ["run", "--report", "none", &spec, "--", "/.probe/busybox", "sh", "-c", SCRIPT];
    let mut child = command(sbx, &words).spawn().unwrap();
    if let Some(pause) = killed_after {
        std::thread::sleep(pause);
        child.kill().unwrap();
    }
    child.wait_with_output().unwrap()
}

#[test]
fn of_two_hundred_first_runs_half_are_killed() {
    if !fixture::has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = image(who, &layers());
        let seed = u64::from(std::process::id());
        let outputs: Vec<(u64, Output)> = std::thread::scope(|scope| {
            let sbx = &sbx;
            let runs: Vec<_> = (0..RUNS)
                .map(|number| {
                    // Before most runs are over, wherever this is; other in each run of the test.
                    let noise = (seed + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
                    let pause = (number % 2 == 0).then(|| Duration::from_millis(noise % 80));
                    scope.spawn(move || (number, run(sbx, pause)))
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let whole = outputs.iter().filter(|(_, output)| output.status.code().is_some());
        for (number, output) in whole {
            let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(said.0, "123400\n", "{who:?} {number}: {said:?}");
        }
        let killed = outputs.iter().filter(|(_, output)| output.status.code().is_none()).count();
        assert!(killed > 5, "{who:?}: only {killed} were killed before their end");
        assert_eq!((kept(&sbx, "layers").len(), kept(&sbx, "roots").len()), (3, 1), "{who:?}");

        let collected = command(&sbx, &["gc"]).output().unwrap();
        assert!(collected.status.success(), "{who:?}: {}", String::from_utf8_lossy(&collected.stderr));
        assert_eq!(kept(&sbx, "tmp"), Vec::<String>::new(), "{who:?}: the store has unfinished files");
        let verified = command(&sbx, &["image", "verify"]).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success() && said.is_empty(), "{who:?}: {said}");
        assert_eq!(shell(sbx, SCRIPT).0.ok(), "123400", "{who:?}");
    }
}
