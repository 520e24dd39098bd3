//! Specs out of choices: whole nodes with paths and words from small pools, so that they
//! meet, where bytes at random seldom get past the grammar.

use arbitrary::{Arbitrary, Result, Unstructured};

/// Nodes; each `?` is a word of the pool, each `!` a path inside, each `^` a path outside, each `#` a number.
const NODES: &[&str] = &[
    "rootfs \"scratch\"\n",
    "rootfs \"host\" writable=\"?\"\n",
    "rootfs \"dir:^\" writable=\"?\"\n",
    "rootfs \"tar:^\" writable=\"persist\" upper=\"^\"\n",
    "rootfs \"dir:^\" size=\"#M\"\n",
    "namespaces \"user\" \"mount\" \"pid\" \"net\" \"ipc\" \"uts\" \"cgroup\" \"time\" { time boottime=\"+#s\"; }\n",
    "namespaces \"user\" \"mount\"\n",
    "namespaces \"mount\" \"pid\" \"net\"\n",
    "namespaces \"pid\" \"?\"\n",
    "user \"?\" ids=\"range\"\n",
    "user \"?\"\n",
    "user # # ids=\"?\"\n",
    "user # #\n",
    "hostname \"?\"\n",
    "workdir \"!\"\n",
    "network \"?\"\n",
    "limits { memory \"#M\" swap=\"#M\"; pids #; cpu #; disk \"#M\" inodes=#; }\n",
    "limits { wall \"#s\" grace=\"#s\"; cpu-time \"#s\"; output #; core #; open-files #; }\n",
    "limits { io \"^\" read=\"#M\" write-iops=#; hugetlb \"2M\" \"#M\"; cpuset \"0-#\"; cgroup \"!\"; }\n",
    "env A=\"?\" PATH=\"!:!\"\n",
    "pass-env \"TERM\" \"CI_TOKEN\"\n",
    "secret \"KEY\" env=\"CI_TOKEN\"\n",
    "secret \"!\" file=\"^\"\n",
    "profile \"default\"\n",
    "profile \"strict\"\n",
    "profile \"compat\"\n",
    "seccomp \"?\"\n",
    "seccomp \"default\" { allow \"mount\"; deny \"socket\" { arg 0 eq #; }; }\n",
    "landlock { read \"!\"; write \"!\" \"!\"; execute \"!\"; connect #; bind #; }\n",
    "landlock \"none\"\n",
    "capabilities \"SYS_ADMIN\"\n",
    "capabilities \"NET_RAW\" \"SYS_CHROOT\"\n",
    "command \"?\" \"x\"\n",
    "script \"true\"\n",
    "stdin \"?\"\n",
    "stdin \"^\"\n",
    "tty \"?\"\n",
    "init #false\n",
    "report \"?\"\n",
    "test \"?\" { command \"?\"; stdin \"?\"; limits { wall \"#s\"; }; expect { exit #; stdout \"?\"; file \"!\" contains=\"?\"; snapshot; }; }\n",
    "test \"?\" { mounts { tmpfs \"!\"; }; network \"?\"; env A=\"?\"; expect { outcome \"exited\"; memory below=\"#M\"; }; }\n",
    "best-effort \"memory\" \"cpu\" \"pids\" \"disk\" \"io\" \"cpuset\" \"hugetlb\" \"seccomp\" \"landlock\" \"cpu-time\"\n",
];

const MOUNTS: &[&str] = &[
    "bind \"^\" \"!\"\n",
    "bind \"^\" \"!\" access=\"rw\"\n",
    "bind \"^\" \"!\" access=\"rw\" exec=#false optional=#true\n",
    "tmpfs \"!\"\n",
    "tmpfs \"!\" size=\"#M\" inodes=# mode=\"1777\"\n",
    "overlay \"!\" lower=\"^\"\n",
    "file \"!\" \"text\"\n",
    "file \"!\" mode=\"0600\" \"text\"\n",
    "dir \"!\"\n",
    "dir \"!\" mode=\"0700\"\n",
    "symlink \"!\" \"!\"\n",
    "volume \"?\" \"!\"\n",
    "device \"/dev/?\"\n",
    "device \"!\"\n",
    "mask \"!\"\n",
];

const WORDS: &[&str] = &[
    "none",
    "default",
    "strict",
    "host",
    "no",
    "ephemeral",
    "persist",
    "root",
    "caller",
    "www",
    "null",
    "yes",
    "auto",
    "fuse",
    "kvm",
    "stderr",
    "fd:3",
    "a",
    "range",
    "single",
    "user",
    "net",
    "x,y",
    "a:b",
    "b\\\\c",
    "./p.json",
];

const INSIDE: &[&str] = &[
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/dev",
    "/dev/null",
    "/dev/pts",
    "/dev/shm/x",
    "/proc",
    "/proc/keys",
    "/proc/sys",
    "/tmp",
    "/tmp/a",
    "/run",
    "/run/sbx",
    "/run/sbx/script",
    "/usr",
    "/usr/lib/x/y",
    "/etc",
    "/etc/shadow",
    "/etc/ssl/private/x",
    "/bin",
    "/bin/sh",
    "/sys",
    "/home/u",
    "/a,b",
    "/a:b",
    "/deep/1/2/3/4/5",
];

const OUTSIDE: &[&str] = &[
    ".",
    "./a",
    "./a/b",
    "../up",
    "~/c",
    "~/",
    "/",
    "/etc",
    "/etc/shadow",
    "/usr",
    "/proc",
    "/dev/sda",
    "/dev/null",
    "./image.tar",
    "/a,b",
    "./file.txt",
];

/// The text of a spec.
#[derive(Debug)]
pub struct Words(pub String);

impl<'a> Arbitrary<'a> for Words {
    fn arbitrary(choices: &mut Unstructured<'a>) -> Result<Self> {
        let mut text = String::new();
        for _ in 0..choices.int_in_range(0..=8)? {
            text.push_str(&filled(choices, NODES)?);
        }
        let mounts = choices.int_in_range(0..=8)?;
        if mounts > 0 {
            text.push_str("mounts {\n");
            for _ in 0..mounts {
                text.push_str(&filled(choices, MOUNTS)?);
            }
            text.push_str("}\n");
        }
        if !text.contains("command") && !text.contains("script") {
            text.push_str("command \"x\"\n");
        }
        Ok(Self(text))
    }
}

fn filled(choices: &mut Unstructured<'_>, pool: &[&str]) -> Result<String> {
    let mut text = String::new();
    let node = choices.choose(pool)?;
    let mut rest = node.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '?' => text.push_str(choices.choose(WORDS)?),
            '!' => text.push_str(choices.choose(INSIDE)?),
            '^' => text.push_str(choices.choose(OUTSIDE)?),
            '#' if rest.peek().is_some_and(|next| next.is_alphabetic()) && node.contains("#false") => text.push('#'),
            '#' if rest.peek() == Some(&'t') => text.push('#'),
            '#' => {
                let numbers = [0u64, 1, 2, 80, 1000, 65_535, 65_536, 4_294_967_294, 1 << 40, u64::MAX];
                text.push_str(&choices.choose(&numbers)?.to_string());
            }
            other => text.push(other),
        }
    }
    Ok(text)
}
