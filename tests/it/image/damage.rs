//! Archives that were cut or bent on the way: an error that says so, never a panic, never
//! a tree that is not whole.

use sbx::image::Bounds;

use super::arena::{Arena, Entry, pax, sample, tar};
use super::formats::{FORMATS, gzip};

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let arena = Arena::new();
    for (form, pack) in FORMATS {
        let bytes = pack(&sample());
        let step = if form == "plain" { 512 } else { 97 };
        let mut cuts: Vec<usize> = (0..bytes.len()).step_by(step).collect();
        cuts.extend([bytes.len() - 1, bytes.len() - 4, bytes.len() - 8]);
        for cut in cuts {
            let message = arena.refused(&bytes[..cut]);
            let said = ["truncated", "empty", "damaged", "not a tar"].iter().any(|word| message.contains(word));
            assert!(said, "{form} cut at {cut}: {message}");
        }
    }
}

#[test]
fn flipped_bits_never_escape_and_never_panic() {
    let arena = Arena::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    // A night's worth can be asked for.
    let rounds = std::env::var("SBX_TEST_FLIPS").map_or(150, |count| count.parse::<u32>().unwrap());
    let mut refused = 0;
    for (_, pack) in FORMATS {
        let good = pack(&sample());
        for _ in 0..rounds {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[at] ^= 1 << ((state >> 29) & 7);
            }
            refused += u32::from(arena.locate(&bytes).is_err());
        }
    }
    assert!(refused > rounds * 2, "only {refused} of 4 * {rounds} damaged archives were refused");
}

#[test]
fn bombs_are_bounded() {
    let arena = Arena::new();
    let few = Bounds { entries: 100, unpacked: 1 << 20, ratio: u64::MAX };
    let many: Vec<Vec<u8>> = (0..101).map(|n| Entry::new(b'0', &format!("f{n}")).bytes()).collect();
    assert!(arena.locate_bounded(&tar(&many[..100]), few).is_ok());
    let message = arena.locate_bounded(&tar(&many), few).unwrap_err().to_string();
    assert!(message.contains("more than 100 members"), "{message}");

    let deep = "d/".repeat(49) + "f";
    let members = [Entry::new(b'0', &deep).bytes(), Entry::new(b'0', &("e/".to_owned() + &deep)).bytes()];
    assert!(arena.locate_bounded(&tar(&members[..1]), few).is_ok());
    let message = arena.locate_bounded(&tar(&members), few).unwrap_err().to_string();
    assert!(message.contains("more than 100 members"), "{message}");

    let megabyte = vec![0u8; 1 << 20];
    let exact = tar(&[Entry::new(b'0', "big").data(&megabyte).bytes()]);
    assert!(arena.locate_bounded(&exact, few).is_ok());
    let over = tar(&[Entry::new(b'0', "big").data(&megabyte).bytes(), Entry::new(b'0', "more").data(b"x").bytes()]);
    for bytes in [over.clone(), gzip(&over), tar(&[Entry::new(b'0', "lie").size(u64::MAX >> 2).bytes()])] {
        let message = arena.locate_bounded(&bytes, few).unwrap_err().to_string();
        assert!(message.contains("more than 1048576 bytes"), "{message}");
    }
}

#[test]
fn a_ratio_that_no_tree_has_is_refused() {
    let arena = Arena::new();
    let bounds = Bounds { unpacked: 64 << 20, ..Bounds::default() };
    let zeros = |size: usize| gzip(&tar(&[Entry::new(b'0', "zeros").data(&vec![0; size]).bytes()]));
    assert!(arena.locate_bounded(&zeros(1_000_000), bounds).is_ok());
    let message = arena.locate_bounded(&zeros(3 << 20), bounds).unwrap_err().to_string();
    assert!(message.contains("more than 200 times its size"), "{message}");
}

#[test]
fn oversized_headers_are_refused_unread() {
    let arena = Arena::new();
    for kind in *b"xgLK" {
        let message = arena.refused(&tar(&[Entry::new(kind, "big").size(2 << 20).bytes()]));
        assert!(message.contains("more than 1048576"), "{message}");
    }
    let long = "n".repeat(5000);
    let message = arena.refused(&tar(&[pax(&[("path", long.as_bytes())]), Entry::new(b'0', "short").bytes()]));
    assert!(message.contains("longer than 4095 bytes"), "{message}");
}

#[test]
fn what_follows_a_gzip_file_is_named() {
    let arena = Arena::new();
    let whole = gzip(&tar(&[Entry::new(b'0', "f").data(b"x").bytes()]));
    assert!(arena.locate(&[whole.as_slice(), &[0; 600]].concat()).is_ok());
    for rest in [&b"x"[..], b"\0\0x", b"garbage that is longer than a header of gzip"] {
        let message = arena.locate(&[whole.as_slice(), rest].concat()).unwrap_err().to_string();
        assert!(message.contains("after its compressed data") && !message.contains("truncated"), "{message}");
    }
    // Members follow each other as cat(1) puts them.
    let (first, second) = (tar(&[Entry::new(b'0', "f").data(b"x").bytes()]), vec![0u8; 1024]);
    assert!(arena.locate(&[gzip(&first), gzip(&second)].concat()).is_ok());
    assert!(arena.locate(&whole[..whole.len() - 3]).unwrap_err().to_string().contains("truncated"));
}
