//! Who is measured, and how each runs the client. None can hold the benchmark up.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::world::World;
use crate::{SERVER, sbx};

/// After this time a measurement is given up: of an older pasta it is known that a transfer can stop for good.
const LONGEST: Duration = Duration::from_secs(10);
/// After so many that failed it is not tried again.
const TRIES: usize = 2;

pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    world: &'a World,
    /// What comes before the client and its words.
    before: Vec<String>,
    /// What has to live meanwhile.
    helpers: Vec<Child>,
    /// What each measurement gave.
    pub(crate) numbers: Vec<(&'static str, f64)>,
    /// What was not measured, and why; the aspect is empty where that is all.
    pub(crate) troubles: Vec<(&'static str, String)>,
}

/// The client, where nobody can execute it.
fn client(world: &World) -> String {
    let path = world.place.path().join("client");
    if !path.exists() {
        std::fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
    }
    path.display().to_string()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// How pasta runs a command: with its default MTU, and nothing forwarded.
pub(crate) const PASTA: &str = "pasta --config-net -t none -u none -T none -U none --no-map-gw --";

pub(crate) fn installed(program: &str) -> bool {
    ["/usr/bin", "/usr/sbin"].iter().any(|it| Path::new(it).join(program).exists())
}

/// Returns all, those that cannot run too: these say why.
pub(crate) fn contenders(world: &World) -> Vec<Contender<'_>> {
    let spec = world.place.path().join("network.kdl");
    let place = world.place.path().display();
    std::fs::write(&spec, format!("network egress {{ allow \"*\"; }}\nmounts {{ bind \"{place}\" \"{place}\" }}\n"))
        .unwrap();
    let own = format!("{} run --report none {} --", sbx().display(), spec.display());
    let new = |name, before: &str| Contender {
        name,
        world,
        before: words(before),
        helpers: Vec::new(),
        numbers: Vec::new(),
        troubles: Vec::new(),
    };
    let mut all = vec![new("the pair itself", ""), new("sbx", &own), new("pasta", PASTA), new("slirp4netns", "")];
    for contender in &mut all[2..] {
        if !installed(contender.name) {
            contender.troubles.push(("", "not installed".to_owned()));
        } else if contender.name == "slirp4netns" {
            contender.serve_slirp();
        }
    }
    for contender in &mut all {
        if contender.troubles.is_empty() {
            contender.troubles.extend(contender.ask("trip").err().map(|trouble| ("", trouble)));
        }
        for (_, trouble) in &contender.troubles {
            crate::say(&format!("LEFT OUT: {}: {trouble}", contender.name));
        }
    }
    all
}

impl Contender<'_> {
    /// It serves a namespace that somebody else has made.
    fn serve_slirp(&mut self) {
        let holder = self.world.nobody(&["unshare", "--user", "--map-root-user", "--net", "sleep", "1000"]).spawn();
        let holder = holder.unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let inside = holder.id().to_string();
        let mut helper = self.world.nobody(&["slirp4netns", "--configure", "--mtu=65520", &inside, "tap0"]);
        let helper = helper.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        self.before = words(&format!("nsenter --user --net --preserve-credentials --target {inside}"));
        self.helpers = vec![helper, holder];
    }

    /// Measures `aspect` once more.
    pub(crate) fn measure(&mut self, aspect: &'static str) {
        let failed = self.troubles.iter().filter(|(of, _)| *of == aspect).count();
        if failed >= TRIES || self.troubles.iter().any(|(of, _)| of.is_empty()) {
            return;
        }
        match self.ask(aspect) {
            Ok(number) => self.numbers.push((aspect, number)),
            Err(trouble) => {
                crate::say(&format!("FAILED: {}, {aspect}: {trouble}", self.name));
                self.troubles.push((aspect, trouble));
            }
        }
    }

    /// Returns the number that one measurement prints.
    fn ask(&self, aspect: &str) -> Result<f64, String> {
        let client = client(self.world);
        let mut all: Vec<&str> = self.before.iter().map(String::as_str).collect();
        all.extend([&client, "client", aspect, SERVER]);
        // Files: who is left over keeps no pipe open, for which this would wait.
        let [out, err] = ["out", "err"].map(|name| self.world.place.path().join(name));
        let mut command: Command = self.world.nobody(&all);
        command.process_group(0).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let mut child = command.spawn().map_err(|fault| fault.to_string())?;
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > LONGEST {
                killpg(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).ok();
                child.wait().unwrap();
                return Err(format!("did not end within {} s{}", LONGEST.as_secs(), last_line(&err)));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let printed = std::fs::read_to_string(out).unwrap_or_default();
        printed.trim().parse().map_err(|_| format!("{status}{}", last_line(&err)))
    }
}

/// What a program said last, to follow something.
fn last_line(path: &Path) -> String {
    let said = std::fs::read_to_string(path).unwrap_or_default();
    said.lines().rfind(|line| !line.is_empty()).map_or_else(String::new, |line| format!(", its last words: `{line}`"))
}

impl Drop for Contender<'_> {
    fn drop(&mut self) {
        for helper in &mut self.helpers {
            helper.kill().ok();
            helper.wait().ok();
        }
    }
}
