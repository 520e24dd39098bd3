//! What `sbx plan` prints.

use crate::example::{SECRET, SPEC, plan};

#[test]
fn a_plan_is_one_fact_a_line() {
    let shown = sbx::plan::show::show(&plan(), SPEC.name, SPEC.text);
    assert!(!shown.contains(SECRET), "{shown}");
    insta::assert_snapshot!(shown, @r#"
    namespaces user mount pid net
    identity inside=0:0 outside=1000:1000 maps-by=child
    uid-map 0 1000 1
    gid-map 0 1000 1
    cgroup v2 below /sys/fs/cgroup/user.slice prepare=enable
    cgroup memory.max = 536870912                         build.kdl:8
    cgroup cpu.max = "150000 100000"                      build.kdl:10
    map-ids                                               default
    die-with-parent                                       default
    join-cgroup                                           build.kdl:7
    unshare-cgroup                                        default
    unshare-time monotonic=-5ns boottime=3600000000000ns  command line
    private-mounts                                        default
    open-tree /srv/root ro nosuid nodev as #0             build.kdl:1
    open-tree "/home/u/my src" ro nosuid nodev opener=parent idmap=inside as #1  build.kdl:4
    new-filesystem overlay "lowerdir=/srv/a b" userxattr rw nosuid noexec as #2  build.kdl:1
    pivot from #0                                         build.kdl:1
    make-dir /src 0755                                    build.kdl:4
    attach /src from #1                                   build.kdl:4
    mount tmpfs /tmp size=512M rw nosuid nodev            build.kdl:5
    make-file /etc/hosts 0644 bytes=20 replace            default
    make-file /run/key 0644 secret new                    command line
    make-file /dev/null 0644 empty if-missing             default
    make-symlink /dev/fd -> /proc/self/fd                 default
    read-only /                                           default
    hostname ci                                           build.kdl:2
    loopback-up                                           default
    rlimit open-files 64                                  command line
    set-ids                                               default
    capabilities CHOWN                                    default
    no-new-privileges                                     default
    workdir /src                                          command line
    exec make "check all"
    candidates /usr/local/bin/make /usr/bin/make
    env PATH=/usr/local/bin:/usr/bin
    env TOKEN=…
    stdin null
    init reaper
    watch wall 5m grace 5s
    watch cpu-time 1s500ms
    watch output 1M
    watch capture
    weakened cpuset: controller not delegated
    warning: the spec is world-writable
    "#);
}

#[test]
fn a_hostile_path_stays_on_its_line() {
    let mut plan = plan();
    plan.steps.truncate(0);
    plan.exec.argv = vec!["a\nb\u{1b}[2J".to_owned(), String::new()];
    plan.exec.candidates = plan.exec.argv[..1].to_vec();
    let shown = sbx::plan::show::show(&plan, SPEC.name, SPEC.text);
    let line = shown.lines().find(|line| line.starts_with("exec")).unwrap();
    assert_eq!(line, r#"exec "a\nb\u{1b}[2J" """#);
    assert!(!shown.contains("candidates"));
}

#[test]
fn the_json_of_a_plan_has_the_same_steps_and_no_secret() {
    let plan = plan();
    let line = sbx::report::plan_json::to_line(&plan, SPEC).unwrap();
    let text = String::from_utf8(line).unwrap();
    assert!(!text.contains(SECRET) && text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kinds: Vec<_> = plan.steps.iter().map(|step| step.op.kind()).collect();
    let found: Vec<_> = json["steps"].as_array().unwrap().iter().map(|step| step["op"].as_str().unwrap()).collect();
    assert_eq!(found, kinds);
    let steps: Vec<_> = json["steps"].as_array().unwrap().iter().map(|step| format!("{step}\n")).collect();
    insta::assert_snapshot!(steps.concat(), @r#"
    {"op":"map-ids","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"op":"die-with-parent","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"op":"join-cgroup","origin":{"column":1,"file":"build.kdl","from":"spec","line":7}}
    {"op":"unshare-cgroup","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"boottime_ns":3600000000000,"monotonic_ns":-5,"op":"unshare-time","origin":{"column":null,"file":null,"from":"command line","line":null}}
    {"op":"private-mounts","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"attributes":["ro","nosuid","nodev"],"idmap":null,"op":"open-tree","opener":"child","origin":{"column":1,"file":"build.kdl","from":"spec","line":1},"source":"/srv/root","tree":0}
    {"attributes":["ro","nosuid","nodev"],"idmap":"inside","op":"open-tree","opener":"parent","origin":{"column":5,"file":"build.kdl","from":"spec","line":4},"source":"/home/u/my src","tree":1}
    {"attributes":["rw","nosuid","noexec"],"filesystem":"overlay","op":"new-filesystem","options":[["lowerdir","/srv/a b"],["userxattr",""]],"origin":{"column":1,"file":"build.kdl","from":"spec","line":1},"tree":2}
    {"op":"pivot","origin":{"column":1,"file":"build.kdl","from":"spec","line":1},"tree":0}
    {"mode":"0755","op":"make-dir","origin":{"column":5,"file":"build.kdl","from":"spec","line":4},"path":"/src"}
    {"destination":"/src","op":"attach","origin":{"column":5,"file":"build.kdl","from":"spec","line":4},"tree":1}
    {"attributes":["rw","nosuid","nodev"],"destination":"/tmp","filesystem":"tmpfs","op":"mount","options":"size=512M","origin":{"column":5,"file":"build.kdl","from":"spec","line":5}}
    {"bytes":20,"content":"text","create":"replace","mode":"0644","op":"make-file","origin":{"column":null,"file":null,"from":"default","line":null},"path":"/etc/hosts"}
    {"bytes":null,"content":"secret","create":"new","mode":"0644","op":"make-file","origin":{"column":null,"file":null,"from":"command line","line":null},"path":"/run/key"}
    {"bytes":0,"content":"empty","create":"if-missing","mode":"0644","op":"make-file","origin":{"column":null,"file":null,"from":"default","line":null},"path":"/dev/null"}
    {"op":"make-symlink","origin":{"column":null,"file":null,"from":"default","line":null},"path":"/dev/fd","target":"/proc/self/fd"}
    {"op":"read-only","origin":{"column":null,"file":null,"from":"default","line":null},"path":"/"}
    {"name":"ci","op":"hostname","origin":{"column":1,"file":"build.kdl","from":"spec","line":2}}
    {"op":"loopback-up","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"op":"rlimit","origin":{"column":null,"file":null,"from":"command line","line":null},"resource":"open-files","value":64}
    {"op":"set-ids","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"keep":["CHOWN"],"op":"capabilities","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"op":"no-new-privileges","origin":{"column":null,"file":null,"from":"default","line":null}}
    {"op":"workdir","origin":{"column":null,"file":null,"from":"command line","line":null},"path":"/src"}
    "#);
    let rest = json.as_object().unwrap().iter().filter(|(name, _)| *name != "steps");
    let rest: String = rest.map(|(name, value)| format!("{name}: {value}\n")).collect();
    insta::assert_snapshot!(rest, @r#"
    cgroup: [{"parent":"/sys/fs/cgroup/user.slice","preparation":"enable","settings":[{"feature":"memory","file":"memory.max","origin":{"column":5,"file":"build.kdl","from":"spec","line":8},"value":"536870912"},{"feature":"cpu","file":"cpu.max","origin":{"column":5,"file":"build.kdl","from":"spec","line":10},"value":"150000 100000"}],"version":2}]
    exec: {"argv":["make","check all"],"candidates":["/usr/local/bin/make","/usr/bin/make"],"env":[{"name":"PATH","secret":false,"value":"/usr/local/bin:/usr/bin"},{"name":"TOKEN","secret":true,"value":null}],"workdir":"/src"}
    identity: {"gid_map":[[0,1000,1]],"inside":[0,0],"maps_by":"child","outside":[1000,1000],"uid_map":[[0,1000,1]]}
    init: "reaper"
    limits: [{"applied":536870912,"by":"memory.max","name":"memory","requested":"512M"},{"applied":256,"by":"pids.max","name":"pids","requested":"256"}]
    namespaces: ["user","mount","pid","net"]
    schema: "sbx.plan/1"
    stdin: {"kind":"null"}
    warnings: ["the spec is world-writable"]
    watch: {"capture":true,"cpu_time_ns":1500000000,"grace_ns":5000000000,"output_bytes":1048576,"wall_ns":300000000000}
    weakened: [{"feature":"cpuset","why":"controller not delegated"}]
    "#);
}
