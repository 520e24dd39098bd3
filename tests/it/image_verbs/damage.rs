//! Each file of the store is cut, bent and lost in turn: what is damaged is found, and a run repairs it or refuses.

use std::path::Path;

use crate::harness::Who;
use crate::image_verbs::shop::{SAID, Said, Shop};
use crate::registry::yard::{Door, Server, Yard};

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Cut,
    Bent,
    Lost,
}

fn harm(path: &Path, harm: Harm) {
    let mut bytes = std::fs::read(path).unwrap();
    match harm {
        Harm::Cut => bytes.truncate(bytes.len() / 2),
        Harm::Bent => {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 2;
        }
        Harm::Lost => return std::fs::remove_file(path).unwrap(),
    }
    std::fs::write(path, bytes).unwrap();
}

/// Damages each file in one way, verifies, and runs: with the root as it is, and with none, so that the layers are needed.
/// The ways take turns, beginning with number `first`: each caller begins with another.
fn each_file((shop, first): (&Shop, usize), source: &str, harmless: &dyn Fn(&str) -> bool) {
    let fine = shop.run(source);
    assert_eq!((fine.out.as_str(), fine.status), (SAID, 0), "{fine:?}");
    assert_eq!(shop.image_verb(&["verify"]), "");
    shop.save();
    // Whether a tree is on the disk makes no difference before the next boot; `image::store` tries that.
    let files: Vec<_> = shop.files().into_iter().filter(|file| !file.ends_with("/settled")).collect();
    assert!(files.len() > 8, "{files:?}");
    for (number, file) in files.iter().enumerate() {
        let how = [Harm::Cut, Harm::Bent, Harm::Lost][(first + number) % 3];
        shop.restore();
        harm(&shop.store(file), how);
        let found = shop.sbx(&["image", "verify"]);
        let status = i32::from(how != Harm::Lost || !harmless(file));
        assert_eq!(found.status, status, "{file} {how:?}: {found:?}");
        let name = file.split(['/', '.']).nth(1).unwrap();
        let named = found.out.contains(name) || how == Harm::Lost;
        assert!(status == 0 || named, "{file} {how:?} is not named: {found:?}");

        let ran = shop.run(source);
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{file} {how:?}: {ran:?}");
        shop.script(
            "until { chmod -R u+rwX \"$1\"; rm -rf \"$1\"; }; do sleep 0.05; done 2>/dev/null",
            &[&shop.store("roots").display().to_string()],
        );
        let ran = shop.run(source);
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{file} {how:?}, without roots: {ran:?}");

        shop.restore();
        harm(&shop.store(file), how);
        shop.image_verb(&["verify", "--repair"]);
        assert_eq!(shop.image_verb(&["verify"]), "", "{file} {how:?}");
        let ran = shop.run(source);
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{file} {how:?}, repaired: {ran:?}");
        assert_eq!(shop.image_verb(&["verify"]), "", "{file} {how:?}, after the run");
    }
}

#[test]
fn every_file_of_an_archive() {
    for (first, who) in Who::all().into_iter().enumerate() {
        let Some(shop) = Shop::new(who) else { return };
        // Only what has been as it is for a while is remembered by its file.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        // Notes of a file that is still there are made again.
        each_file((&shop, first), "oci-archive:oci.tar:a", &|file| file.starts_with("seen/"));
    }
}

/// A registry, a shop that has pulled an image from it, the image's name, and what `pull` said.
fn pulled() -> Option<(Yard, Server, Shop, String, String)> {
    let yard = Yard::new()?;
    // As root it is the same.
    let shop = Shop::new(Who::Nobody)?;
    let server = yard.registry(&Door::Open);
    let name = server.name("b/c:a");
    shop.script(
        "skopeo --insecure-policy copy -q --dest-tls-verify=false \"oci:$1:a\" \"$2\"",
        &[&shop.text("lay"), &name],
    );
    let said = shop.image_verb(&["pull", &name]);
    Some((yard, server, shop, name, said))
}

/// What a damaged manifest names is found out once that is whole, by the same run.
#[test]
fn several_files_of_a_registrys_image_at_once() {
    let Some((_yard, _server, shop, name, fine)) = pulled() else { return };
    for again in ["run", "pull"] {
        let blobs = shop.files().into_iter().filter(|file| file.starts_with("blobs/"));
        let documents: Vec<_> =
            blobs.map(|file| shop.store(&file)).filter(|file| std::fs::read(file).unwrap().starts_with(b"{")).collect();
        assert!(documents.len() >= 2, "{documents:?}");
        for file in &documents {
            std::fs::write(file, "garbage").unwrap();
        }
        match again {
            "run" => assert_eq!(shop.run(&name).out, SAID),
            _ => assert_eq!(shop.image_verb(&["pull", &name]), fine),
        }
        assert_eq!(shop.image_verb(&["verify"]), "", "{again}");
    }
}

#[test]
fn every_file_of_a_registrys_image() {
    let Some((_yard, _server, shop, name, _)) = pulled() else { return };
    let image = &shop.json(&["inspect", &name])[0];
    let packed: Vec<String> = image["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap().replace("sha256:", "blobs/"))
        .collect();
    // A layer that is unpacked needs no packed one, and what has lost its name is pulled by it again.
    each_file((&shop, 2), &name, &|file| file.starts_with("names/") || packed.iter().any(|blob| blob == file));
}

#[test]
fn whatever_changes_in_a_tree_is_found() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.image_verb(&["pull", "oci:lay:a"]);
        shop.save();
        let layers = shop.store("layers").display().to_string();
        for (script, words) in [
            ("printf X | dd of=\"$f/d/two\" conv=notrunc bs=1 2>&1", ["`/d/two` its contents have the digest"]),
            ("echo more >> \"$f/d/two\"", ["`/d/two` has 25 bytes, not 20"]),
            ("chmod 0600 \"$f/d/two\"", ["`/d/two` has the mode 0600, not 0644"]),
            ("rm \"$f/d/two\"", ["`/d/two` is missing"]),
            ("echo > \"$f/d/three\"", ["`/d/three` is not in the list"]),
            ("rm \"$f/d/two\"; ln -s / \"$f/d/two\"", ["`/d/two` is not a regular file"]),
            (
                "rm \"$f/d/two\"; mkdir \"$f/d/two\"; chown --reference \"$f\" \"$f/d/two\"",
                ["`/d/two` is not a regular file"],
            ),
            ("chmod 0700 \"$f/d\"", ["`/d` has the mode 0700, not 0755"]),
            ("touch -d @1 \"$f/d/two\"", ["`/d/two` has the time 1.000000000, not"]),
            ("touch -d @2 \"$f/d\"", ["`/d` has the time 2.000000000, not"]),
            ("touch -h -d @3 \"$f/../../\"*/rootfs/etc/link", ["`/etc/link` has the time 3.000000000, not"]),
            ("attribute \"$f/d/two\" user.x 1", ["`/d/two` has the attribute `user.x`, which is not in the list"]),
            (
                "attribute \"$f/../../\"*/rootfs/etc/kept user.kept 2",
                ["`/etc/again` has another value of the attribute"],
            ),
            ("attribute \"$f/../../\"*/rootfs/etc/kept user.kept", ["`/etc/kept` has lost the attribute `user.kept`"]),
            (
                "attribute \"$(dirname \"$f/../../\"*/rootfs/etc/kept)\" user.kept",
                ["`/etc` has lost the attribute `user.kept`"],
            ),
            ("chmod +t \"$f/d\"", ["`/d` has the mode 1755, not 0755"]),
            ("rm -r \"$f\"", ["`/` is missing"]),
        ] {
            shop.restore();
            let script = format!("set -e; f=$(dirname $(dirname \"$1\"/*/rootfs/d/two)); {script}");
            shop.script(&script, &[&layers]);
            let found = shop.sbx(&["image", "verify"]);
            assert_eq!(found.status, 1, "{script}: {found:?}");
            assert!(found.out.contains(words[0]), "{script}: {found:?}");
            shop.image_verb(&["verify", "--repair"]);
            assert_eq!(shop.image_verb(&["verify"]), "");
            let ran = shop.run("oci:lay:a");
            assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{script}: {ran:?}");
            assert_eq!(shop.image_verb(&["verify"]), "");
        }
        // In a root alone: what it does not share with a layer.
        shop.restore();
        shop.script("f=$(echo \"$1\"/*); echo > \"$f/rootfs/d/three\"", &[&shop.store("roots").display().to_string()]);
        let found = shop.json(&["list"]);
        assert_eq!(found.as_array().unwrap().len(), 1);
        let found = shop.sbx(&["image", "verify", "--json"]);
        let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
        assert_eq!(found["problems"][0]["kind"], "root", "{found}");
        let paths: Vec<_> =
            found["problems"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/d", "/d/three"], "{found}");
    }
}

/// What cannot be read is told of, and hides nothing; it may be whole, so it stays.
#[test]
fn what_cannot_be_read_hides_no_damage() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.image_verb(&["pull", "oci:lay:a"]);
        let layers = shop.store("layers").display().to_string();
        shop.script("set -e; f=$(echo \"$1\"/*/rootfs/d/two); echo more >> \"$f\"", &[&layers]);
        let script = "set -e; f=$(dirname $(dirname \"$1\"/*/rootfs/e)); mv \"$f/list\" \"$f/kept\"; mkdir \"$f/list\"";
        shop.script(script, &[&layers]);
        let both = |said: &Said| said.out.contains("`/d/two` has 25 bytes") && said.out.contains("Is a directory");
        let said = shop.sbx(&["image", "verify"]);
        assert!(said.status == 1 && both(&said), "{who:?}: {said:?}");
        let said = shop.sbx(&["image", "verify", "--repair"]);
        assert!(said.status == 1 && both(&said) && said.err.contains("was left as it was"), "{who:?}: {said:?}");
        shop.script("f=$(dirname \"$1\"/*/kept); rmdir \"$f/list\"; mv \"$f/kept\" \"$f/list\"", &[&layers]);
        assert_eq!(shop.image_verb(&["verify"]), "", "{who:?}");
        let ran = shop.run("oci:lay:a");
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{who:?}: {ran:?}");
    }
}

#[test]
fn owners_are_verified_where_they_are_kept() {
    let Some(who) = Who::root() else { return };
    let Some(shop) = Shop::new(who) else { return };
    shop.image_verb(&["pull", "oci:lay:a"]);
    shop.script("chown 7:8 \"$1\"/*/rootfs/d/two", &[&shop.store("layers").display().to_string()]);
    let found = shop.sbx(&["image", "verify", "oci:lay:a"]);
    assert!(found.status == 1 && found.out.contains("`/d/two` belongs to 7:8, not to 0:0"), "{found:?}");
}
