//! The peers, each as its own documentation shows it for a command that is not trusted,
//! the host's programs read-only and one directory to work in.

use crate::Fault;
use crate::stage::{Run, Stage, Words};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// A runner of somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) label: &'static str,
    /// Debian's package of it.
    pub(crate) package: &'static str,
    pub(crate) words: fn(&Stage, Run) -> Result<Words, Fault>,
}

pub(crate) const ALL: [Peer; 7] = [
    Peer { label: "bwrap, its README's example", package: "bubblewrap", words: bwrap_plain },
    Peer { label: "bwrap, hardened", package: "bubblewrap", words: bwrap_hardened },
    Peer { label: "firejail, its default profile", package: "firejail", words: firejail_plain },
    Peer { label: "firejail, hardened", package: "firejail", words: firejail_hardened },
    Peer { label: "crun spec", package: "crun", words: crun },
    Peer { label: "runc spec", package: "runc", words: runc },
    Peer { label: "no sandbox", package: "", words: bare },
];

const BWRAP: &str = "bwrap --ro-bind /usr /usr --symlink usr/lib64 /lib64 --proc /proc --dev /dev";
const BWRAP_MORE: &str = "--symlink usr/lib /lib --symlink usr/bin /bin --tmpfs /tmp --unshare-all --unshare-user \
                          --disable-userns --die-with-parent --new-session --cap-drop ALL --clearenv \
                          --setenv PATH /usr/bin --hostname sandbox";
const FIREJAIL: &str = "firejail --quiet --noprofile --caps.drop=all --seccomp --nonewprivs --noroot --ipc-namespace \
                        --private-dev --private-tmp --hostname=sandbox --restrict-namespaces --read-only=/usr";

fn split(words: &str) -> Vec<String> {
    words.split_whitespace().map(str::to_owned).collect()
}

fn outside(stage: &Stage, run: Run) -> [String; 2] {
    [stage.text("work/doors"), run.word().to_owned()]
}

fn bare(stage: &Stage, run: Run) -> Result<Words, Fault> {
    Ok(match run {
        Run::Image(_) => None,
        _ => Some(outside(stage, run).into()),
    })
}

fn bwrap(stage: &Stage, run: Run, more: &[&str]) -> Vec<String> {
    if let Run::Image(link) = run {
        let place = format!("/{link}/made");
        let mut words = split("bwrap --bind");
        words.extend([stage.text("image"), "/".to_owned(), "--bind".to_owned(), stage.text("work"), place.clone()]);
        words.extend(more.iter().flat_map(|more| split(more)).filter(|word| word == "--unshare-all"));
        words.extend([format!("{place}/doors"), "image".to_owned()]);
        return words;
    }
    let mut words = split(BWRAP);
    words.extend(["--bind".to_owned(), stage.text("work"), "/work".to_owned()]);
    words.extend(more.iter().flat_map(|more| split(more)));
    words.extend(["/work/doors".to_owned(), run.word().to_owned()]);
    words
}

fn bwrap_plain(stage: &Stage, run: Run) -> Result<Words, Fault> {
    Ok(Some(bwrap(stage, run, &["--unshare-pid"])))
}

fn bwrap_hardened(stage: &Stage, run: Run) -> Result<Words, Fault> {
    let share = if run == Run::Network { "--share-net" } else { "" };
    Ok(Some(bwrap(stage, run, &[BWRAP_MORE, share])))
}

fn firejail_plain(stage: &Stage, run: Run) -> Result<Words, Fault> {
    let mut words = split("firejail --quiet --profile=/etc/firejail/default.profile");
    match run {
        Run::Image(_) => return Ok(None),
        Run::Limits => words.extend(split("--rlimit-nproc=32 --rlimit-as=64m")),
        _ => {}
    }
    words.extend(outside(stage, run));
    Ok(Some(words))
}

fn firejail_hardened(stage: &Stage, run: Run) -> Result<Words, Fault> {
    let mut words = split(FIREJAIL);
    words.push(format!("--whitelist={}", stage.text("work")));
    match run {
        Run::Image(_) => return Ok(None),
        Run::Limits => words.extend(split("--net=none --rlimit-nproc=32 --rlimit-as=64m")),
        Run::Network => {}
        _ => words.push("--net=none".to_owned()),
    }
    words.extend(outside(stage, run));
    Ok(Some(words))
}

fn crun(stage: &Stage, run: Run) -> Result<Words, Fault> {
    bundle(stage, run, "crun")
}

fn runc(stage: &Stage, run: Run) -> Result<Words, Fault> {
    bundle(stage, run, "runc")
}

/// A bundle whose `config.json` is what the program's own `spec` writes, but for what it is asked for.
fn bundle(stage: &Stage, run: Run, program: &str) -> Result<Words, Fault> {
    let bundle = stage.path("bundle");
    for name in ["", "rootfs", "rootfs/usr", "rootfs/work", "rootfs/proc", "rootfs/sys", "rootfs/dev"] {
        fs::create_dir_all(bundle.join(name))?;
        stage.give(&bundle.join(name))?;
    }
    let path = bundle.join("config.json");
    drop(fs::remove_file(&path));
    let mut spec = Command::new(program);
    let how: &[&str] = if stage.uid == 0 { &["spec"] } else { &["spec", "--rootless"] };
    let output = spec.args(how).current_dir(&bundle).output()?;
    if !output.status.success() {
        return Err(format!("{program} spec: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    ask(stage, run, &mut config);
    fs::write(&path, config.to_string())?;
    let root = format!("--root={}", stage.text("run"));
    let id = format!("sbx-doors-{}-{program}", std::process::id());
    // What a run leaves that was killed, the next one has the runner remove.
    let script = "\"$1\" \"$2\" delete --force \"$4\" 2>/dev/null; exec \"$1\" \"$2\" run --bundle \"$3\" \"$4\"";
    let words = ["sh", "-c", script, "sh", program, &root, &stage.text("bundle"), &id];
    Ok(Some(words.map(str::to_owned).into()))
}

fn ask(stage: &Stage, run: Run, config: &mut Value) {
    let place = match run {
        Run::Image(link) => format!("/{link}/made"),
        _ => "/work".to_owned(),
    };
    config["process"]["terminal"] = json!(run == Run::Terminal);
    config["process"]["args"] = json!([format!("{place}/doors"), run.word()]);
    let bind = |from: &str, to: &str, mode: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", mode, "nosuid", "nodev"]});
    let Some(mounts) = config["mounts"].as_array_mut() else { return };
    mounts.push(bind(&stage.text("work"), &place, "rw"));
    match run {
        Run::Image(_) => config["root"] = json!({"path": stage.text("image"), "readonly": false}),
        _ => mounts.push(bind("/usr", "/usr", "ro")),
    }
    let linux = &mut config["linux"];
    match run {
        Run::Network => {
            if let Some(namespaces) = linux["namespaces"].as_array_mut() {
                namespaces.retain(|namespace| namespace["type"] != "network");
            }
        }
        Run::Limits => {
            linux["resources"]["memory"] = json!({"limit": 67_108_864});
            linux["resources"]["pids"] = json!({"limit": 32});
        }
        _ => {}
    }
}
