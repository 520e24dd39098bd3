//! What sbx finds out about the machine.

use sbx::host::probe::{Depth, caller, probe};
use sbx::host::{Cgroups, Controller};

#[test]
fn a_run_without_limits_asks_for_no_cgroups() {
    let host = probe(&Depth::Caller);
    assert_eq!(host.cgroups, Cgroups::default());
    assert_eq!(host.caller, caller());
}

#[test]
fn a_controller_is_in_one_hierarchy_or_refused_and_never_both() {
    let cgroups = probe(&Depth::Cgroups(Controller::ALL.to_vec())).cgroups;
    for controller in Controller::ALL {
        let homes = cgroups.hierarchies.iter().filter(|hierarchy| hierarchy.controllers.contains(&controller)).count();
        let refused = cgroups.refusals.iter().any(|refusal| refusal.controllers.contains(&controller));
        assert!(homes <= 1, "{controller} is in {homes} hierarchies: {cgroups:#?}");
        assert!(homes == 0 || !refused, "{controller} is both found and refused: {cgroups:#?}");
    }
    for refusal in &cgroups.refusals {
        assert!(!refusal.hint.is_empty() && !refusal.controllers.is_empty(), "{refusal:#?}");
    }
}
