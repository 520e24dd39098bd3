//! A command that may write where the spec lies cannot decide what the next run may do
//! (CVE-2026-25725 of Claude Code): what sbx reads is as it was, by whatever way it was tried.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::fixture::{self, has_rootfs};
use crate::harness::{NOBODY, Sbx, Who};

/// Tries all ways to change the file `$1` and the directories up to `$2`, and says which worked.
const ATTACK: &str = r#"
try() { "$@" 2>/dev/null && echo "did: $*"; }
line() { try sh -c "$1" sh "$file"; }
file=$1
dir=$(dirname "$file")
cd "$2" || exit 9
echo evil > "$dir/.new"
line 'echo evil > "$1"'
line 'echo evil >> "$1"'
line ': >| "$1"'
line 'printf x 1<> "$1"'
line 'test -w "$1"'
try truncate -s 0 "$file"
try dd if=/dev/zero of="$file" bs=1 count=1 conv=notrunc
try rm -f "$file"
try unlink "$file"
try mv "$file" "$dir/.gone"
try mv -f "$dir/.new" "$file"
try mv -T --no-copy -f "$dir/.new" "$file"
try mv --exchange "$dir/.new" "$file"
try cp --remove-destination "$dir/.new" "$file"
try ln -f "$file" "$dir/.hard"
try ln -sf .new "$file"
try chmod 777 "$file"
try touch "$file"
line 'python3 -c "import os,sys; os.rename(os.path.dirname(sys.argv[1])+\"/.new\", sys.argv[1])" "$1"'
while test "$dir" != "$2" && test "$dir" != /; do
    try mv -T "$dir" "$dir.gone"
    try rm -rf "$dir"
    try rmdir "$dir"
    mkdir -p "$2/.plant/$(basename "$dir")"
    try python3 -c 'import os,sys; os.rename(sys.argv[1], sys.argv[2])' "$2/.plant" "$dir"
    dir=$(dirname "$dir")
done
rm -f "$(dirname "$file")/.new"
echo tried
"#;

/// What a path of the host is: the bytes, the file, the mode.
fn state(path: &Path) -> (Vec<u8>, u64, u32, std::time::SystemTime) {
    let found = std::fs::metadata(path).unwrap();
    (std::fs::read(path).unwrap(), found.ino(), found.mode(), found.modified().unwrap())
}

/// Attacks `inside`, which is `file` of the host, from the directory `top` on.
#[track_caller]
fn attack(sbx: Sbx, (inside, top): (&str, &str), file: &str) -> Sbx {
    let before = state(&sbx.path(file));
    let sbx = sbx.cmd(&["sh", "-c", ATTACK, "sh", inside, top]);
    let ran = sbx.run();
    assert_eq!(ran.ok(), "tried", "{inside}: {ran:?}");
    assert_eq!(state(&sbx.path(file)), before, "{inside} of {file}");
    sbx
}

fn link(sbx: &Sbx, target: &str, name: &str) {
    symlink(target, sbx.path(name)).unwrap();
    let owner = nix::unistd::geteuid().is_root().then_some(if sbx.who() == Who::Root { 0 } else { NOBODY });
    std::os::unix::fs::lchown(sbx.path(name), owner, owner).unwrap();
}

const BIND: &str = "mounts { bind \"@\" \"/src\" access=\"rw\"; }";

/// A directory with the spec in `a/b`, bound to `/src`.
fn nested(who: Who, spec: &str) -> Sbx {
    let sbx = Sbx::new(who).dir("a").dir("a/b").dir("c");
    let text = spec.replace('@', &sbx.path("").display().to_string());
    sbx.file("a/b/spec.kdl", text.as_bytes()).place("a/b/spec.kdl")
}

#[test]
fn the_spec_is_read_only_in_what_is_writable() {
    for who in Who::all() {
        for user in ["root", "caller", "1000 1001"] {
            let spec = format!("user {user}\nmounts {{ bind \".\" \"/src\" access=\"rw\"; }}");
            let sbx = attack(Sbx::new(who).spec(&spec), ("/src/spec.kdl", "/src"), "spec.kdl");
            // What lies beside it is as writable as ever.
            let sbx = sbx.sh("echo x > /src/other && cat /src/spec.kdl");
            assert_eq!(sbx.run().ok(), spec);
            assert_eq!(std::fs::metadata(sbx.path("other")).unwrap().uid(), who.uid());
        }
    }
}

#[test]
fn the_directories_above_the_spec_stay_where_they_are() {
    for who in Who::all() {
        let sbx = attack(nested(who, BIND), ("/src/a/b/spec.kdl", "/src"), "a/b/spec.kdl");
        let ran = sbx.sh("echo new > /src/a/b/new && mv /src/a/b/new /src/c/new && cat /src/c/new").run();
        assert_eq!(ran.ok(), "new", "the directories stay writable");
    }
}

#[test]
fn no_second_mount_and_no_second_name_leads_to_the_spec() {
    let spec = "mounts {
        bind \"@/a\" \"/deep\" access=\"rw\"
        bind \"@\" \"/src\" access=\"rw\"
        bind \"@/a/b\" \"/src/c\" access=\"rw\"
        bind \"@/a/b/spec.kdl\" \"/file\" access=\"rw\"
        bind \"@/hard.kdl\" \"/hard\" access=\"rw\"
        bind \"@/c/../a/b\" \"/round\" access=\"rw\"
    }";
    for who in Who::all() {
        let mut sbx = nested(who, spec);
        std::fs::hard_link(sbx.path("a/b/spec.kdl"), sbx.path("hard.kdl")).unwrap();
        let ways = [
            ("/deep/b/spec.kdl", "/deep"),
            ("/src/a/b/spec.kdl", "/src"),
            ("/src/c/spec.kdl", "/src/c"),
            ("/round/spec.kdl", "/round"),
        ];
        for way in ways {
            sbx = attack(sbx, way, "a/b/spec.kdl");
        }
        let before = state(&sbx.path("a/b/spec.kdl"));
        let sbx = sbx.sh("for it in /file /hard; do echo evil > $it; truncate -s 0 $it; chmod 777 $it; done; echo end");
        assert_eq!(sbx.run().ok(), "end");
        assert_eq!(state(&sbx.path("a/b/spec.kdl")), before);
    }
}

#[test]
fn a_link_on_the_way_to_the_spec_stays_too() {
    let attack_links = "cd /src; for it in link.kdl way up; do
        mv -T $it gone; rm -f $it; ln -sfn c $it; mv -fT --no-copy new $it; mv --exchange -T new $it; done 2>/dev/null
        cat /src/link.kdl | head -c 6; readlink link.kdl way";
    for who in Who::all() {
        let sbx = nested(who, BIND).file("new", b"evil");
        link(&sbx, "way/../b/spec.kdl", "link.kdl");
        link(&sbx, "a/b", "way");
        let sbx = attack(sbx.place("link.kdl"), ("/src/a/b/spec.kdl", "/src"), "a/b/spec.kdl");
        let sbx = sbx.sh(attack_links);
        assert_eq!(sbx.run().ok(), "mountsway/../b/spec.kdl\na/b", "{who:?}");
        assert_eq!(
            std::fs::canonicalize(sbx.path("link.kdl")).unwrap(),
            sbx.path("a/b/spec.kdl").canonicalize().unwrap()
        );
        // In and out again: what is passed on the way counts as well.
        let sbx = sbx.place("c/../a/b/spec.kdl").sh("mv /src/c /src/gone; rmdir /src/c; cd /src; ls -d c gone 2>&1");
        assert!(sbx.run().stdout.starts_with("c\n") || sbx.path("c").is_dir(), "{who:?}");
        assert!(sbx.path("c").is_dir() && !sbx.path("gone").exists(), "{who:?}");
    }
}

#[test]
fn a_profile_that_the_spec_names_is_part_of_it() {
    for who in Who::all() {
        let profile = br#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
        let spec = "seccomp \"prof/it.json\"\nmounts { bind \".\" \"/src\" access=\"rw\"; }";
        let sbx = Sbx::new(who).dir("prof").file("prof/it.json", profile).spec(spec);
        let sbx = attack(sbx, ("/src/prof/it.json", "/src"), "prof/it.json");
        let sbx = attack(sbx, ("/src/spec.kdl", "/src"), "spec.kdl");
        // A link that a command planted earlier is not followed, as for every other path of the spec.
        std::fs::rename(sbx.path("prof"), sbx.path("real")).unwrap();
        link(&sbx, "real", "prof");
        let ran = sbx.run();
        ran.refused("seccomp profile");
        assert!(ran.stderr.contains("ELOOP"), "{ran:?}");
    }
}

#[test]
fn a_script_is_a_spec() {
    for who in Who::all() {
        let text = format!(
            "#!{}\n{}\nreport \"none\"",
            fixture::binary().display(),
            "mounts { bind \".\" \"/src\" access=\"rw\"; }"
        );
        let words = ATTACK.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let text = format!("{text}\ncommand \"sh\" \"-c\" \"{words}\" \"sh\" \"/src/it\" \"/src\"\n");
        let sbx = Sbx::new(who).dir("d").file("d/it", text.as_bytes());
        std::fs::set_permissions(sbx.path("d/it"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let before = state(&sbx.path("d/it"));
        let mut command = Command::new(sbx.path("d/it"));
        if nix::unistd::geteuid().is_root() && who == Who::Nobody {
            std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
            std::os::unix::process::CommandExt::gid(&mut command, NOBODY);
        }
        let output = command.current_dir("/").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "tried\n", "{output:?}");
        assert_eq!(state(&sbx.path("d/it")), before);
    }
}

/// Standard input can be a file that the next run reads by its name.
#[test]
fn a_spec_from_standard_input_has_a_name_as_well() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("mounts { bind \"@\" \"/src\" access=\"rw\"; }");
        let redirected = "spec=; for word in \"$@\"; do shift; case $word in */sbx-e2e-*/spec.kdl) spec=$word; word=-;; esac; \
                          set -- \"$@\" \"$word\"; done; exec \"$@\" < \"$spec\"";
        attack(sbx.through(redirected), ("/src/spec.kdl", "/src"), "spec.kdl");
        let piped = redirected.replace("exec \"$@\" <", "cat").replace("\"$spec\"", "\"$spec\" | \"$@\"");
        let sbx = Sbx::new(who).spec("mounts { bind \"@\" \"/src\" access=\"rw\"; }").through(&piped);
        assert_eq!(sbx.sh("echo ran").run().ok(), "ran");
    }
}

#[test]
fn a_volume_and_a_kept_layer_are_writable_too() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("store").dir("store/volumes").dir("store/volumes/v");
        let sbx =
            sbx.file("store/volumes/v/it.kdl", b"mounts { volume \"v\" \"/v\"; }").place("store/volumes/v/it.kdl");
        attack(sbx, ("/v/it.kdl", "/v"), "store/volumes/v/it.kdl");
        if has_rootfs() {
            let text = format!("rootfs {:?} writable=\"persist\" upper=\"../..\"", fixture::of(who).join("root"));
            let sbx = Sbx::new(who)
                .dir("up")
                .dir("up/upper")
                .dir("up/upper/etc")
                .file("up/upper/etc/it.kdl", text.as_bytes());
            let ran = sbx.place("up/upper/etc/it.kdl").sh("echo evil > /etc/it.kdl").run();
            ran.refused("lies in the layer");
        }
    }
}

#[test]
fn no_capability_and_no_namespace_inside_takes_it_off() {
    let ways = ": > /tmp/x; for it in 'umount /src/spec.kdl' 'umount -l /src/spec.kdl' 'umount -l /src' \
        'mount -o remount,bind,rw /src/spec.kdl' 'mount --bind /src /tmp/d' 'mount --move /src/spec.kdl /tmp/x'; do
        $it 2>/dev/null; echo evil 2>/dev/null > /src/spec.kdl; echo evil 2>/dev/null > /tmp/d/spec.kdl; done; echo end";
    for who in Who::all() {
        let cases = [
            ("user root\ncapabilities \"SYS_ADMIN\" \"DAC_OVERRIDE\"", ways.to_owned()),
            ("user 1000 1000\nprofile \"compat\"", format!("unshare -rm sh -c \"{ways}\"")),
        ];
        for (head, script) in cases {
            let sbx = Sbx::new(who)
                .spec(&format!("{head}\nmounts {{ bind \".\" \"/src\" access=\"rw\"; tmpfs \"/tmp/d\"; }}"));
            let before = state(&sbx.path("spec.kdl"));
            let sbx = sbx.sh(&script);
            assert_eq!(sbx.run().ok(), "end", "{head}");
            assert_eq!(state(&sbx.path("spec.kdl")), before, "{who:?} {head}");
        }
        let Some(root) = Who::root().filter(|root| *root == who) else { continue };
        let spec = "namespaces mount pid\nnetwork host\nmounts { bind \".\" \"/src\" access=\"rw\"; }";
        let sbx = Sbx::new(root).spec(spec);
        std::fs::set_permissions(sbx.path("spec.kdl"), std::fs::Permissions::from_mode(0o666)).unwrap();
        let before = state(&sbx.path("spec.kdl"));
        assert_ne!(sbx.path("spec.kdl").metadata().unwrap().mode() & 0o002, 0);
        let sbx = sbx.sh("echo evil > /src/spec.kdl; echo end");
        assert_eq!(sbx.run().ok(), "end");
        assert_eq!(state(&sbx.path("spec.kdl")), before);
    }
}

#[test]
fn a_plan_says_what_is_kept_and_why() {
    for who in Who::all() {
        let shown = nested(who, BIND).verb(&["plan"]).cmd(&["true"]).run().stdout;
        let pins: Vec<&str> = shown.lines().filter(|line| line.starts_with("pin ")).collect();
        let words = [
            ("pin /src/a rw, because sbx reads what is below it", "a/b/spec.kdl:1"),
            ("pin /src/a/b rw, because sbx reads what is below it", "a/b/spec.kdl:1"),
            ("pin /src/a/b/spec.kdl ro, because sbx reads it", "a/b/spec.kdl:1"),
        ];
        assert_eq!(pins.len(), words.len(), "{shown}");
        for (pin, (what, origin)) in pins.iter().zip(words) {
            assert!(pin.starts_with(what) && pin.ends_with(origin), "{pin}");
        }
        for spec in [
            "",
            "mounts { bind \"@\" \"/src\"; }",
            "mounts { bind \"@/c\" \"/src\" access=\"rw\"; overlay \"/o\" lower=\"@\"; }",
        ] {
            let shown = nested(who, spec).verb(&["plan"]).cmd(&["true"]).run().stdout;
            assert!(shown.contains("namespaces") && !shown.contains("\npin "), "{spec}: {shown}");
        }
    }
}

#[test]
fn the_text_of_a_script_cannot_be_changed_from_inside() {
    for who in Who::all() {
        let script = "chmod u+w \"$0\" && echo granted\n(echo evil >> \"$0\") 2>/dev/null && echo written\n\
            rm -f \"$0\" && echo removed\necho end\n";
        let ran = Sbx::new(who).spec(&format!("script {script:?}\n")).run();
        assert_eq!(ran.stdout, "end\n", "{who:?}: {ran:?}");
    }
}
