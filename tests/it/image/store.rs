//! The store: whole trees only, once each, whoever else is at it and whoever is killed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sbx::image::{Source, Step, Store, locate};

use super::arena::{Arena, Entry, file, is_root, run, sample, skip, steps, tar};

const ARCHIVE: &str = "SBX_TEST_ARCHIVE";
const STORE: &str = "SBX_TEST_STORE";

/// An archive that takes a while: many small files, some closed directories.
fn large() -> Vec<u8> {
    let mut members = vec![Entry::new(b'5', "closed").mode(0).bytes()];
    for number in 0..6000 {
        members.push(file(&format!("closed/d{}/f{number}", number / 50), "some contents"));
    }
    tar(&members)
}

/// Runs `locate` in a process of its own.
fn spawn(archive: &Path, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "image::store::in_another_process", "--ignored", "--nocapture"])
        .env(ARCHIVE, archive)
        .env(STORE, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "run by the other tests, in processes of their own"]
#[expect(clippy::print_stdout, reason = "its parent reads it")]
fn in_another_process() {
    let (archive, store) = (PathBuf::from(std::env::var_os(ARCHIVE).unwrap()), std::env::var_os(STORE).unwrap());
    let (image, steps) = steps(&archive, None, &Store::new(store));
    println!("steps {steps:?} root {}", image.unwrap().root.display());
}

#[test]
fn fifty_processes_extract_an_archive_once() {
    let arena = Arena::new();
    let archive = arena.archive("large.tar", &large());
    let children: Vec<Child> = (0..50).map(|_| spawn(&archive, &arena.path("store"))).collect();
    let outputs: Vec<String> = children
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        })
        .collect();
    assert_eq!(outputs.iter().filter(|output| output.contains("Extract")).count(), 1);
    let kept = arena.left_in("layers");
    assert!(kept.len() == 1 && outputs.iter().all(|output| output.contains(&kept[0])), "{kept:?}");
    assert_eq!(arena.left_in("tmp"), Vec::<String>::new());
}

#[test]
fn threads_share_a_store_too() {
    let arena = Arena::new();
    let (one, two) = (arena.archive("one.tar", &sample()), arena.archive("two.tar", &sample()));
    let extracted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|number| {
                let (path, store) = (if number % 2 == 0 { &one } else { &two }, arena.store());
                scope.spawn(move || {
                    let (image, steps) = steps(path, None, &store);
                    assert!(image.unwrap().root.join("usr/bin/tool").exists());
                    usize::from(steps.contains(&Step::Extract))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    // Two files of the same contents may be read at the same time; one tree stays.
    assert!((1..=2).contains(&extracted), "{extracted}");
    assert_eq!((arena.left_in("layers").len(), arena.left_in("tmp").len()), (1, 0));
}

#[test]
fn a_killed_extraction_leaves_nothing_that_counts() {
    let arena = Arena::new();
    let archive = arena.archive("large.tar", &large());
    let mut killed = 0;
    for round in 1..=12u64 {
        let mut child = spawn(&archive, &arena.path("store"));
        std::thread::sleep(Duration::from_millis(8 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let live = arena.left_in("tmp").len() >= 2;
        killed += u32::from(live && arena.left_in("layers").is_empty());
        if round % 4 == 0 {
            drop(arena.store().collect().unwrap());
            assert_eq!(arena.left_in("tmp"), Vec::<String>::new(), "collect left something");
        }
    }
    if killed == 0 {
        skip("no kill fell into an extraction");
    }
    let image = locate(Source::Tar(&archive), None, || Ok(arena.store()), &mut |_| {}).unwrap();
    assert_eq!((arena.left_in("layers").len(), arena.left_in("tmp")), (1, Vec::new()));
    if is_root() {
        assert!(image.root.join("closed/d119/f5999").exists());
    }
    arena.check_canary();
}

#[test]
fn collect_spares_what_is_in_use_and_survives_anything_else() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    assert_eq!(arena.store().collect().unwrap(), []);
    let mut during = None;
    locate(Source::Tar(&archive), None, || Ok(arena.store()), &mut |_| {
        during.get_or_insert_with(|| (arena.store().collect().unwrap(), arena.left_in("tmp").len()));
    })
    .unwrap();
    assert_eq!(during, Some((Vec::new(), 2)), "a live extraction was taken for dead");

    let tmp = arena.path("store").join("tmp");
    let canary = arena.path("canary");
    std::fs::create_dir_all(tmp.join("dead/a/b/c")).unwrap();
    std::fs::create_dir_all(tmp.join("dead/removed.1/x")).unwrap();
    std::fs::write(tmp.join("dead/a/b/f"), "").unwrap();
    std::fs::write(tmp.join("orphan.lock"), "").unwrap();
    std::fs::write(tmp.join("stray"), "").unwrap();
    for link in ["link", "dead/link", "dead/a/b/link"] {
        std::os::unix::fs::symlink(&canary, tmp.join(link)).unwrap();
    }
    for closed in ["dead/a/b/c", "dead/a/b", "dead/a", "dead"] {
        std::fs::set_permissions(tmp.join(closed), std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    let found = arena.store().collect().unwrap();
    let names: Vec<_> = found.iter().map(|leftover| leftover.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["dead", "link", "orphan", "stray"]);
    assert!(found.iter().all(|leftover| leftover.error.is_none()), "{found:?}");
    assert_eq!(arena.left_in("tmp"), Vec::<String>::new());
    arena.check_canary();
}

#[test]
fn the_second_run_of_a_settled_file_reads_nothing() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    assert_eq!(steps(&archive, None, &arena.store()).1, [Step::Extract]);
    // The file is too young for its times to tell a change.
    assert_eq!(steps(&archive, None, &arena.store()).1, [Step::Verify]);
    let other = sample().iter().map(|byte| if *byte == b'=' { b'-' } else { *byte }).collect::<Vec<u8>>();
    std::fs::write(&archive, &other).unwrap();
    let (changed, seen) = steps(&archive, None, &arena.store());
    assert!(seen.contains(&Step::Extract), "{seen:?}");
    let changed = changed.unwrap();
    assert!(std::fs::read_to_string(changed.root.join("etc/os-release")).unwrap().contains("NAME-test"));

    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(steps(&archive, None, &arena.store()).1, [Step::Verify]);
    let (again, seen) = steps(&archive, None, &arena.store());
    assert_eq!((again.unwrap(), seen), (changed.clone(), Vec::new()));
    let wrong = steps(&archive, Some(&"0".repeat(64)), &arena.store());
    assert!(wrong.0.unwrap_err().to_string().contains("is wanted") && wrong.1.is_empty());

    // Without its tree, the note alone is worth nothing.
    let tree = changed.root.parent().unwrap();
    std::fs::rename(tree, arena.path("store").join("moved")).unwrap();
    assert_eq!(steps(&archive, None, &arena.store()).1, [Step::Extract]);
}

#[test]
fn a_digest_that_does_not_match_lets_nothing_in() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    let (image, seen) = steps(&archive, Some(&"f".repeat(64)), &arena.store());
    let message = image.unwrap_err().to_string();
    assert!(message.contains("sample.tar") && message.contains("`sha256:ffff"), "{message}");
    assert_eq!(seen, [Step::Extract]);
    assert_eq!((arena.left_in("layers"), arena.left_in("tmp")), (Vec::new(), Vec::new()));
    let digest = steps(&archive, None, &arena.store()).0.unwrap().digest.unwrap();
    let (image, seen) = steps(&archive, Some(digest.hex()), &arena.store());
    assert_eq!((image.unwrap().digest, seen), (Some(digest), vec![Step::Verify]));
}

#[test]
fn a_store_that_others_can_write_is_refused() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    let store = arena.path("store");
    steps(&archive, None, &arena.store()).0.unwrap();
    assert_eq!(std::fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777)).unwrap();
    for error in [steps(&archive, None, &arena.store()).0.unwrap_err(), arena.store().collect().unwrap_err()] {
        assert!(error.to_string().contains("can be written by others"), "{error}");
    }
}

#[test]
fn the_place_of_the_store_follows_the_environment() {
    let of = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = Store::of_caller(|name| pairs.iter().find(|(key, _)| key == name).map(|(_, v)| v.into()));
        found.map(|store| store.root().to_owned())
    };
    assert_eq!(of(&[("SBX_STORE", "/a"), ("HOME", "/h")]).unwrap(), Path::new("/a"));
    assert!(of(&[("SBX_STORE", "a")]).unwrap_err().to_string().contains("not absolute"));
    if is_root() {
        assert_eq!(of(&[("HOME", "/h")]).unwrap(), Path::new("/var/lib/sbx"));
    } else {
        assert_eq!(of(&[("HOME", "/h")]).unwrap(), Path::new("/h/.local/share/sbx"));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_DATA_HOME", "rel")]).unwrap(), Path::new("/h/.local/share/sbx"));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]).unwrap(), Path::new("/x/sbx"));
        assert!(of(&[]).unwrap_err().hint.unwrap().contains("SBX_STORE"));
    }
}

#[test]
fn a_full_disk_is_told_and_left_clean() {
    if !is_root() {
        return skip("only root can mount a small file system");
    }
    let arena = Arena::new();
    let archive = arena.archive("large.tar", &large());
    let small = arena.path("small");
    for option in ["size=2m", "size=64m,nr_inodes=500"] {
        std::fs::create_dir_all(&small).unwrap();
        if !run(arena.directory.path(), "mount", &["-t", "tmpfs", "-o", option, "tmpfs", small.to_str().unwrap()]) {
            return;
        }
        let store = Store::new(small.join("store"));
        let outcome = locate(Source::Tar(&archive), None, || Ok(store.clone()), &mut |_| {});
        let left = (store.collect(), std::fs::read_dir(small.join("store/tmp")).map(Iterator::count));
        let kept = std::fs::read_dir(small.join("store/layers")).map(Iterator::count);
        run(arena.directory.path(), "umount", &[small.to_str().unwrap()]);
        let error = outcome.unwrap_err();
        let message = error.to_string();
        // Whichever of the two that write finds it first.
        let place = message.contains("closed/d") || message.contains("the list of the layer");
        assert!(place && message.contains("ENOSPC") && message.contains("large.tar"), "{message}");
        assert!(error.hint.unwrap().contains("SBX_STORE"));
        assert_eq!((left.1.unwrap(), kept.unwrap()), (0, 0));
        assert_eq!(left.0.unwrap(), []);
    }
}

/// Makes the tree at `place` one of another boot, as after a power cut.
fn of_another_boot(place: &Path) {
    let note = place.join("skipped");
    let text = std::fs::read_to_string(&note).unwrap();
    let numbers: Vec<&str> = text.lines().next().unwrap().split(' ').take(4).collect();
    let line = format!("{} 00000000-0000-4000-8000-000000000000\n", numbers.join(" "));
    let seal = sbx::image::digest::Digest::of(line.as_bytes());
    std::fs::write(&note, format!("{line}{}\n", seal.hex())).unwrap();
}

#[test]
fn after_a_power_cut_only_what_was_written_back_counts() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    let image = steps(&archive, None, &arena.store()).0.unwrap();
    let place = image.root.parent().unwrap().to_owned();
    drop(image);
    assert!(place.join("settled").exists(), "it was not written back");

    of_another_boot(&place);
    let (image, done) = steps(&archive, None, &arena.store());
    assert!(image.is_ok() && !done.contains(&Step::Extract), "{done:?}");
    drop(image);

    std::fs::remove_file(place.join("settled")).unwrap();
    std::fs::write(place.join("rootfs/usr/bin/tool"), "").unwrap();
    let (image, done) = steps(&archive, None, &arena.store());
    assert!(done.contains(&Step::Extract), "{done:?}");
    assert_ne!(std::fs::read(image.unwrap().root.join("usr/bin/tool")).unwrap(), b"");
    assert_eq!(arena.left_in("tmp"), Vec::<String>::new());
}

#[test]
fn what_is_not_on_the_disk_yet_counts_in_the_boot_that_wrote_it() {
    let arena = Arena::new();
    let archive = arena.archive("sample.tar", &sample());
    let image = steps(&archive, None, &arena.store()).0.unwrap();
    let mark = image.root.with_file_name("settled");
    std::fs::remove_file(&mark).unwrap();
    drop(image);
    let (image, done) = steps(&archive, None, &arena.store());
    assert!(image.is_ok() && !done.contains(&Step::Extract), "{done:?}");
    arena.store().settle().unwrap();
    assert!(mark.exists());
}
