//! Which cases are run, in which order, and how many at once.

use crate::testing::Case;

/// Returns whether one of `filters` fits `case`, or there is none. A filter is a part of the spec's path or of the
/// test's name, or of each with `::` between.
#[must_use]
pub fn fits(case: &Case, filters: &[String]) -> bool {
    let fits = |filter: &String| {
        let both = |(at, _): (usize, &str)| case.spec.contains(&filter[..at]) && case.name.contains(&filter[at + 2..]);
        // A name may have `::` in it as well.
        case.spec.contains(filter.as_str())
            || case.name.contains(filter.as_str())
            || filter.match_indices("::").any(both)
    };
    filters.is_empty() || filters.iter().any(fits)
}

/// Brings `order` into another one, the same for the same `seed` on every machine.
pub fn shuffle(order: &mut [usize], seed: u64) {
    let mut state = seed;
    // Fisher and Yates, with the numbers of SplitMix64 (Steele, Lea, Flood 2014).
    for last in (1..order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
        order.swap(last, usize::try_from(mixed % bound).unwrap_or(0));
    }
}

/// Returns how many cases run at once if nobody says so: two more than there are processors, because part of every
/// case is waiting for grace periods of the kernel while its mounts and namespaces go (with one more, two processors
/// were idle for a third of the time), but no more than fit into the `available` memory if each takes what its limit
/// allows.
#[must_use]
pub fn jobs(cores: usize, available: Option<u64>, cases: &[&Case]) -> usize {
    cores.saturating_add(2).min(fit(available, cases)).min(cases.len()).max(1)
}

/// Returns how many workers there are besides those of `jobs` cases: one, where what it has not yet taken down of a
/// sandbox fits into the memory, too.
#[must_use]
pub fn spare(jobs: usize, available: Option<u64>, cases: &[&Case]) -> usize {
    usize::from(jobs < fit(available, cases))
}

fn fit(available: Option<u64>, cases: &[&Case]) -> usize {
    match (available, cases.iter().filter_map(|case| case.memory).max()) {
        (Some(available), Some(largest @ 1..)) => usize::try_from(available / largest).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

/// Returns `MemAvailable` of proc_meminfo(5), in bytes, from its text.
#[must_use]
pub fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{available, fits, jobs, shuffle, spare};
    use crate::testing::Case;

    fn case(spec: &str, name: &str, memory: Option<u64>) -> Case {
        let [spec, file, name] = [spec, spec, name].map(str::to_owned);
        Case { spec, name, file, place: (1, 1), memory, snapshot: None }
    }

    #[test]
    fn a_filter_is_a_part_of_the_path_or_of_the_name() {
        let case = case("dir/app.sbx", "says hello", None);
        for (filter, expected) in [
            ("hello", true),
            ("app", true),
            ("dir/app.sbx::says hello", true),
            ("app::hello", true),
            ("hello::app", false),
            ("::says", true),
            ("app::", true),
            ("Hello", false),
        ] {
            assert_eq!(fits(&case, &[filter.to_owned()]), expected, "{filter}");
        }
        let other = self::case("dir/app.sbx", "std::vec grows", None);
        for (filter, expected) in [
            ("std::vec", true),
            ("app::std::vec", true),
            ("app::vec", true),
            ("std::app", false),
            ("vec::grows", false),
        ] {
            assert_eq!(fits(&other, &[filter.to_owned()]), expected, "{filter}");
        }
        assert!(fits(&case, &[]));
        assert!(fits(&case, &["none".to_owned(), "app".to_owned()]), "one of them is enough");
    }

    #[test]
    fn a_seed_is_an_order() {
        let order = |seed| {
            let mut order: Vec<usize> = (0..20).collect();
            shuffle(&mut order, seed);
            order
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
        let mut sorted = order(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn as_many_run_as_fit() {
        let large: Vec<_> = (0..9).map(|number| case("a", &number.to_string(), Some(1 << 30))).collect();
        let large: Vec<_> = large.iter().collect();
        assert_eq!(jobs(4, Some(3 << 30), &large), 3);
        assert_eq!(jobs(4, Some(1), &large), 1, "one runs in any case");
        assert_eq!([spare(3, Some(3 << 30), &large), spare(2, Some(3 << 30), &large)], [0, 1]);
        assert_eq!(jobs(4, None, &large), 6);
        assert_eq!(jobs(1, None, &large), 3);
        assert_eq!(jobs(8, Some(1), &[&case("a", "b", None), &case("a", "c", None)]), 2, "no limit, no bound");
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
