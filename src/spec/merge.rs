//! One spec over another: what the upper one says wins, lists are appended. It judges nothing.

use crate::spec::{Limits, Spec};
use crate::units::Spanned;

impl Spec {
    /// Returns this spec with what `own` says over it. Of variables, limits and features of one name the one of
    /// `own` counts; mounts, secrets and what is taken out follow those of this spec. Tests are those of `own`.
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
        Self {
            rootfs: rootfs.clone().or_else(|| self.rootfs.clone()),
            namespaces: namespaces.clone().or_else(|| self.namespaces.clone()),
            user: user.clone().or_else(|| self.user.clone()),
            hostname: hostname.clone().or_else(|| self.hostname.clone()),
            workdir: workdir.clone().or_else(|| self.workdir.clone()),
            mounts: appended(&self.mounts, mounts),
            network: network.clone().or_else(|| self.network.clone()),
            limits: self.limits.with(limits),
            env: replaced(&self.env, env, |left, right| left.name == right.name),
            pass_env: replaced(&self.pass_env, pass_env, |left, right| left == right),
            secrets: appended(&self.secrets, secrets),
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
    let kept = base.iter().filter(|base| !own.iter().any(|own| same(&base.value, &own.value)));
    kept.chain(own).cloned().collect()
}
