//! Images whose files nobody but their owner may reach: those of subordinate ids, and those in closed directories.

use serde_json::json;

use crate::harness::Who;
use crate::image_verbs::shop::Shop;

/// Two layers with owners, closed directories that both of them fill, attributes of directories.
const LAYERS: &str = r#"
    set -e; umask 022; cd "$1"; mkdir -p a/bin a/etc a/mail a/shut/deep b/mail b/shut
    cp /bin/busybox a/bin/busybox
    printf 'root:x:0:0::/:/bin/sh\nwww:x:33:33::/:/bin/sh\n' > a/etc/passwd
    echo 1 > a/mail/x; echo 2 > b/mail/y; echo 3 > a/shut/in; echo 4 > b/shut/more; echo 5 > a/shut/deep/er
    chmod 600 a/mail/x; chmod 2775 a/mail b/mail; chmod 0 a/shut/deep a/shut b/shut
    # Not in the user namespace of somebody.
    if chown 1000:1000 a/mail/x 2>/dev/null; then
        chown 33:33 b/mail/y; chown 8:8 a/mail b/mail; chown 7:9 a/shut/in; chown 33:0 b/shut/more
    fi
    umoci init --layout two; umoci new --image two:a
    for n in a b; do tar -C $n -cf $n.tar .; umoci raw add-layer --image two:a $n.tar; done
    umoci new --image two:one; umoci raw add-layer --image two:one a.tar
    chmod -R a+rX two; chmod -R u+rwx a b
"#;

/// Says whose everything is.
const LOOK: &str = "busybox stat -c '%n %u:%g %a' / /bin /mail /mail/x /mail/y /shut /shut/in /shut/more /shut/deep/er";

const OWNED: &str = "/ 0:0 755\n/bin 0:0 755\n/mail 8:8 2775\n/mail/x 1000:1000 600\n/mail/y 33:33 644\n/shut 0:0 0\n\
                     /shut/in 7:9 644\n/shut/more 33:0 644\n/shut/deep/er 0:0 644\n";

fn look(shop: &Shop, user: &str) -> String {
    let spec = shop.path("look.kdl");
    let text =
        format!("rootfs \"oci:{}:a\"\n{user}\ncapabilities \"DAC_OVERRIDE\"\nenv PATH=\"/bin\"\n", shop.text("two"));
    std::fs::write(&spec, text).unwrap();
    let script = format!("busybox id -u; {LOOK}");
    let spec = spec.display().to_string();
    let said = shop.sbx(&["run", "--report", "none", &spec, "--", "/bin/busybox", "sh", "-c", &script]);
    assert_eq!((said.status, said.err.as_str()), (0, ""), "{user}: {said:?}");
    said.out
}

/// Lists what is left of trees in the store.
fn trees(shop: &Shop) -> Vec<String> {
    let names = |section| std::fs::read_dir(shop.store(section)).unwrap().map(|entry| entry.unwrap().file_name());
    ["layers", "roots", "tmp"].into_iter().flat_map(names).map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_range_keeps_the_owners_of_an_image() {
    let Some(shop) = Shop::new(Who::Nobody).and_then(Shop::lend) else { return };
    shop.script(LAYERS, &[&shop.text("")]);
    let range = r#"user "root" ids="range""#;
    assert_eq!(look(&shop, range), format!("0\n{OWNED}"));
    assert!(trees(&shop).iter().all(|name| name.ends_with(".range-100000-100000")), "{:?}", trees(&shop));
    assert_eq!(trees(&shop).len(), 3, "{:?}", trees(&shop));
    // Whom the caller is inside changes what an owner is on disk.
    for (user, uid) in [("\"www\"", 33), ("7 9", 7)] {
        let seen = look(&shop, &format!("user {user} ids=\"range\""));
        // The root is that of the writable layer, which is the command's own.
        let seen: Vec<&str> = seen.lines().filter(|line| !line.starts_with("/ ")).collect();
        let expected: Vec<String> = OWNED.lines().skip(1).map(str::to_owned).collect();
        assert_eq!(
            (seen[0], &seen[1..]),
            (uid.to_string().as_str(), &expected.iter().map(String::as_str).collect::<Vec<_>>()[..])
        );
    }
    assert_eq!(look(&shop, range), format!("0\n{OWNED}"));
    assert_eq!(shop.image_verb(&["verify"]), "");
    assert!(shop.image_verb(&["du"]).contains("layer"));

    // Found and repaired as any damage.
    shop.script("chown 100041 \"$1\"/layers/*.range-100000-100000/rootfs/mail/y", &[&shop.text("own/store")]);
    let found = shop.sbx(&["image", "verify"]);
    assert!(found.status == 1 && found.out.contains("belongs to 100041:100032, not to 100032:100032"), "{found:?}");
    shop.sbx(&["image", "verify", "--repair"]);
    assert_eq!(look(&shop, range), format!("0\n{OWNED}"));
    assert_eq!(shop.image_verb(&["verify"]), "");

    // What a killed extraction left is removed by the next, and all of it with the image.
    shop.script(
        "set -e; cd \"$1\"; set -- layers/*.range-100000-100000; cp -a \"$1\" tmp/1-1; chown -R 100005:100005 tmp/1-1/rootfs/shut; chown \"$(stat -c %u:%g tmp)\" tmp/1-1",
        &[&shop.text("own/store")],
    );
    let gone = shop.sbx(&["gc"]);
    assert!(gone.status == 0 && gone.out.contains("tmp/1-1"), "{gone:?}");
    shop.image_verb(&["remove", "oci:two:a"]);
    assert_eq!(trees(&shop), Vec::<String>::new());
}

#[test]
fn closed_directories_of_layers_are_put_together() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.script(LAYERS, &[&shop.text("")]);
        let modes: Vec<String> = look(&shop, r#"user "root""#)
            .lines()
            .skip(1)
            .map(|line| line.split(' ').step_by(2).collect::<Vec<_>>().join(" "))
            .collect();
        let expected: Vec<String> =
            OWNED.lines().map(|line| line.split(' ').step_by(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(modes, expected, "{who:?}");
        assert_eq!(shop.image_verb(&["verify"]), "", "{who:?}");
        assert!(shop.image_verb(&["du"]).contains("root"), "{who:?}");
        shop.image_verb(&["remove", "oci:two:a"]);
        assert_eq!(shop.json(&["list"]), json!([]), "{who:?}");
        assert_eq!(trees(&shop), Vec::<String>::new(), "{who:?}");
    }
}

#[test]
fn what_is_kept_in_closed_directories_is_shown() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let spec = shop.path("own/kept.kdl");
        std::fs::write(
            &spec,
            format!(
                "rootfs \"tar:{}\" writable=\"persist\" upper=\"{}\"\nenv PATH=\"/bin\"\n",
                shop.text("root.tar"),
                shop.text("own/kept")
            ),
        )
        .unwrap();
        let spec = spec.display().to_string();
        let script = "busybox mkdir -p /new/deep && echo 1 > /new/deep/file && busybox chmod 0 /new/deep /new";
        let said = shop.sbx(&["run", "--report", "none", &spec, "--", "/bin/busybox", "sh", "-c", script]);
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{who:?}: {said:?}");
        let said = shop.sbx(&["diff", &spec]);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("A /new\nA /new/deep\nA /new/deep/file\n", ""), "{who:?}");
    }
}
