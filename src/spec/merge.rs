//! One spec over another: what the upper one says wins, lists are appended. It judges nothing.

use std::collections::BTreeSet;

use crate::spec::{Limits, Secret, Spec};
use crate::units::Spanned;

impl Spec {
    /// Returns this spec with what `own` says over it. Of variables, limits and features of one name the one of
    /// `own` counts, and of secrets at one place; mounts and what is taken out follow those of this spec. Tests are
    /// those of `own`.
    #[must_use]
    pub fn with(&self, own: &Self) -> Self {
        // Written out, so that a new node cannot be forgotten here.
        let Self {
            rootfs,
            namespaces,
            user,
            hostname,
            workdir,
            mounts,
            network,
            limits,
            env,
            pass_env,
            secrets,
            profile,
            seccomp,
            landlock,
            capabilities,
            command,
            stdin,
            tty,
            init,
            changes,
            collect,
            report,
            best_effort,
            tests,
        } = own;
        // Whichever node gives a variable its value, as with `extends`.
        let given: BTreeSet<&str> = own.variables();
        let secret = |secret: &Secret| match secret {
            Secret::Env { name, .. } => given.contains(name.as_str()),
            Secret::File { destination, .. } => secrets
                .iter()
                .any(|own| matches!(&own.value, Secret::File { destination: other, .. } if other == destination)),
        };
        Self {
            rootfs: rootfs.clone().or_else(|| self.rootfs.clone()),
            namespaces: namespaces.clone().or_else(|| self.namespaces.clone()),
            user: user.clone().or_else(|| self.user.clone()),
            hostname: hostname.clone().or_else(|| self.hostname.clone()),
            workdir: workdir.clone().or_else(|| self.workdir.clone()),
            mounts: appended(&self.mounts, mounts),
            network: network.clone().or_else(|| self.network.clone()),
            limits: self.limits.with(limits),
            env: over(&self.env, env, |it| given.contains(it.name.as_str())),
            pass_env: over(&self.pass_env, pass_env, |name| given.contains(name.as_str())),
            secrets: over(&self.secrets, secrets, secret),
            profile: profile.clone().or_else(|| self.profile.clone()),
            seccomp: seccomp.clone().or_else(|| self.seccomp.clone()),
            landlock: landlock.clone().or_else(|| self.landlock.clone()),
            capabilities: replaced(&self.capabilities, capabilities, |left, right| left == right),
            command: command.clone().or_else(|| self.command.clone()),
            stdin: stdin.clone().or_else(|| self.stdin.clone()),
            tty: tty.clone().or_else(|| self.tty.clone()),
            init: init.clone().or_else(|| self.init.clone()),
            changes: changes.clone().or_else(|| self.changes.clone()),
            collect: appended(&self.collect, collect),
            report: report.clone().or_else(|| self.report.clone()),
            best_effort: replaced(&self.best_effort, best_effort, |left, right| left == right),
            tests: tests.clone(),
        }
    }

    /// Returns the variables of the command's environment that are given a value here.
    fn variables(&self) -> BTreeSet<&str> {
        let secrets = self.secrets.iter().filter_map(|it| match &it.value {
            Secret::Env { name, .. } => Some(name.as_str()),
            Secret::File { .. } => None,
        });
        let set = self.env.iter().map(|it| it.value.name.as_str());
        set.chain(self.pass_env.iter().map(|it| it.value.as_str())).chain(secrets).collect()
    }
}

impl Limits {
    fn with(&self, own: &Self) -> Self {
        let Self { memory, cpu, cpuset, pids, io, hugetlb, wall, cpu_time, output, disk, rlimits, cgroup } = own;
        let mut rlimits = replaced(&self.rlimits, rlimits, |left, right| left.resource == right.resource);
        rlimits.sort_by_key(|limit| limit.value.resource);
        Self {
            memory: memory.clone().or_else(|| self.memory.clone()),
            cpu: cpu.clone().or_else(|| self.cpu.clone()),
            cpuset: cpuset.clone().or_else(|| self.cpuset.clone()),
            pids: pids.clone().or_else(|| self.pids.clone()),
            io: replaced(&self.io, io, |left, right| left.device == right.device),
            hugetlb: replaced(&self.hugetlb, hugetlb, |left, right| left.page_size == right.page_size),
            wall: wall.clone().or_else(|| self.wall.clone()),
            cpu_time: cpu_time.clone().or_else(|| self.cpu_time.clone()),
            output: output.clone().or_else(|| self.output.clone()),
            disk: disk.clone().or_else(|| self.disk.clone()),
            rlimits,
            cgroup: cgroup.clone().or_else(|| self.cgroup.clone()),
        }
    }
}

fn appended<T: Clone>(base: &[Spanned<T>], own: &[Spanned<T>]) -> Vec<Spanned<T>> {
    base.iter().chain(own).cloned().collect()
}

/// Returns those of `base` that no one of `own` is the `same` as, then those of `own`.
fn replaced<T: Clone>(base: &[Spanned<T>], own: &[Spanned<T>], same: fn(&T, &T) -> bool) -> Vec<Spanned<T>> {
    over(base, own, |base| own.iter().any(|own| same(base, &own.value)))
}

/// Returns those of `base` that are not `gone`, then those of `own`.
fn over<T: Clone>(base: &[Spanned<T>], own: &[Spanned<T>], gone: impl Fn(&T) -> bool) -> Vec<Spanned<T>> {
    base.iter().filter(|base| !gone(&base.value)).chain(own).cloned().collect()
}
