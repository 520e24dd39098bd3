//! Who is measured, and how each runs the client.

use std::cell::RefCell;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::world::World;
use crate::{SERVER, sbx};

pub(crate) enum Contender<'a> {
    Missing(&'static str),
    There(There<'a>),
}

pub(crate) struct There<'a> {
    pub(crate) name: &'static str,
    world: &'a World,
    /// What comes before the client and its words.
    before: Vec<String>,
    /// What has to live meanwhile.
    helpers: RefCell<Vec<Child>>,
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

/// Returns all, those that are not installed too.
pub(crate) fn contenders(world: &World) -> Vec<Contender<'_>> {
    let spec = world.place.path().join("network.kdl");
    let place = world.place.path().display();
    std::fs::write(&spec, format!("network egress {{ allow \"*\"; }}\nmounts {{ bind \"{place}\" \"{place}\" }}\n"))
        .unwrap();
    let there = |name, before| Contender::There(There { name, world, before, helpers: RefCell::default() });
    let installed =
        |program: &str| ["/usr/bin", "/usr/sbin"].iter().any(|it| std::path::Path::new(it).join(program).exists());
    let own = format!("{} run --report none {} --", sbx().display(), spec.display());
    let mut all = vec![there("the pair itself", Vec::new()), there("sbx", words(&own))];
    all.push(match installed("pasta") {
        true => there("pasta", words("pasta --config-net -t none -u none -T none -U none --no-map-gw --")),
        false => Contender::Missing("pasta"),
    });
    all.push(match installed("slirp4netns") {
        true => slirp(world),
        false => Contender::Missing("slirp4netns"),
    });
    all
}

/// It serves a namespace that somebody else has made.
fn slirp(world: &World) -> Contender<'_> {
    let holder = world.nobody(&["unshare", "--user", "--map-root-user", "--net", "sleep", "1000"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let inside = holder.id().to_string();
    let words_of = ["slirp4netns", "--configure", "--mtu=65520", &inside, "tap0"];
    let mut helper = world.nobody(&words_of);
    let helper = helper.stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let before = words(&format!("nsenter --user --net --preserve-credentials --target {inside}"));
    Contender::There(There { name: "slirp4netns", world, before, helpers: RefCell::new(vec![helper, holder]) })
}

impl There<'_> {
    /// Returns the number that one measurement prints.
    pub(crate) fn ask(&self, what: &str) -> f64 {
        let client = client(self.world);
        let mut all: Vec<&str> = self.before.iter().map(String::as_str).collect();
        all.extend([&client, "client", what, SERVER]);
        let mut command: Command = self.world.nobody(&all);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        said.trim().parse().unwrap_or_else(|_| panic!("{} {what}: {said}", self.name))
    }
}

impl Drop for There<'_> {
    fn drop(&mut self) {
        for helper in self.helpers.borrow_mut().iter_mut() {
            helper.kill().ok();
            helper.wait().ok();
        }
    }
}
