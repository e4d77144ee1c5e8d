//! Whose connections are captured.

use super::*;

fn policy(text: &str) -> FilterPolicy {
    policy::CapturePolicy::parse(text).unwrap().filter
}

fn orders(desk: &mut Desk) -> Vec<Order> {
    desk.tracker.take_orders()
}

#[test]
fn a_program_that_is_left_out() {
    for text in [
        "[[filter.exclude]]\nexecutable = \"stock\"\n",
        "[[filter.include]]\nexecutable = \"shop\"\n",
    ] {
        let mut desk = Desk::with(10, policy(text));
        desk.play(&Talk::new(1).call("a", 1).records);
        assert_eq!(desk.lines(), ["Client shop>- /a 201"], "{text}");
        assert_eq!(
            orders(&mut desk),
            [Order::LeaveOut { connection: 12 }, Order::Exclude { pid: 200 }],
            "{text}"
        );
        let counters = desk.tracker.counters();
        assert_eq!(counters.connections_filtered, 1);
        assert!(counters.chunks_untracked > 0);
    }
}

#[test]
fn a_port_leaves_out_connections_and_no_process() {
    let mut desk = Desk::with(10, policy("[[filter.exclude]]\nport = 80\n"));
    desk.play(&Talk::new(1).call("a", 1).records);
    assert_eq!(
        orders(&mut desk),
        [
            Order::LeaveOut { connection: 11 },
            Order::LeaveOut { connection: 12 }
        ]
    );
    // Where nobody knows which end serves, the lower port is asked about.
    let mut talk = Talk::new(2);
    talk.client.fresh = false;
    talk.client.role = Role::Unknown;
    desk.play([&talk.client.open(1)]);
    assert_eq!(desk.tracker.connections(), 0);
}

#[test]
fn another_program_in_a_process_that_is_left_out_is_judged_anew() {
    let mut desk = Desk::with(10, policy("[[filter.include]]\nexecutable = \"shop\"\n"));
    desk.play(&Talk::new(1).call("a", 1).records);
    orders(&mut desk);
    desk.exec(200, "/srv/shop");
    assert_eq!(orders(&mut desk), [Order::Rejudge { pid: 200 }]);
    desk.exec(200, "/srv/shop");
    assert_eq!(orders(&mut desk), [], "it is left out no longer");
}

#[test]
fn the_pid_of_a_process_that_is_left_out_becomes_free() {
    let filter = policy("[[filter.exclude]]\nexecutable = \"stock\"\n");
    let mut desk = Desk::with(10, filter);
    desk.play(&Talk::new(1).call("a", 1).records);
    orders(&mut desk);
    let exit = |pid| Event::Exit { pid, start_ns: 0 };
    desk.take(&exit(7)).take(&exit(200)).take(&exit(200));
    assert_eq!(orders(&mut desk), [Order::Admit { pid: 200 }]);
    // Its exit was not reported: it is looked for, once in a while.
    desk.play(&Talk::new(2).call("a", 1).records);
    orders(&mut desk);
    desk.tracker
        .check_excluded(EXCLUDED_CHECK_NS - 1, &desk.attribution);
    assert_eq!(orders(&mut desk), []);
    desk.tracker.check_excluded(EXCLUDED_CHECK_NS, &desk.attribution);
    assert_eq!(orders(&mut desk), [Order::Admit { pid: 200 }]);
}

#[test]
fn a_new_policy_judges_connections_anew() {
    let mut desk = Desk::new();
    let mut talk = Talk::new(1);
    talk.call("a", 1).say(true, "GET /b HTTP/1.1\r\n\r\n", 1);
    desk.play(&talk.records);
    let without = policy("[[filter.exclude]]\nexecutable = \"stock\"\n");
    let calls = &mut desk.calls;
    desk.tracker
        .set_policy(protocol::Limits::default(), without, &mut |call| calls.push(call));
    assert_eq!(orders(&mut desk), [Order::LeaveOut { connection: 12 }]);
    assert_eq!(desk.tracker.connections(), 1);
    let before = talk.records.len();
    talk.say(false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1);
    desk.play(&talk.records[before..]);
    assert_eq!(
        desk.lines(),
        ["Server shop>stock /a 201", "Client shop>- /b 200"],
        "the other end speaks for both now"
    );
    assert_eq!(desk.tracker.common.ledger.held_bytes, 0);
}

fn process(executable: &str, container: &str, cgroup: &str) -> Process {
    let mut attribution = Desk::new().attribution;
    let process = attribution.process(&hint(1, executable), 0);
    Process {
        container: (!container.is_empty()).then(|| {
            Arc::new(crate::attribution::Container {
                id: container.to_owned(),
                ..Default::default()
            })
        }),
        cgroup: cgroup.to_owned(),
        cgroup_id: 77,
        ..(*process).clone()
    }
}

#[test]
fn how_much_is_left_out_with_a_connection() {
    const ID: &str = "4f3c8a1be2d9";
    let own = format!("/kubepods/pod1/{ID}");
    let group = Verdict::Group { cgroup: 77 };
    let nginx = process("nginx", ID, &own);
    let hybrid = process("nginx", ID, "/system.slice/containerd.service");
    let plain = process("nginx", "", "/system.slice/nginx.service");
    let by_container = format!("[[filter.exclude]]\ncontainer = \"{ID}\"\n");
    let only_container = "[[filter.include]]\ncontainer = \"ffffffffffff\"\n";
    let only_curl = "[[filter.include]]\nexecutable = \"curl\"\n";
    let not_nginx = "[[filter.exclude]]\nexecutable = \"nginx\"\n";
    let unit = "[[filter.exclude]]\ncgroup = \"/system.slice/nginx.service\"\n";
    let pods = "[[filter.exclude]]\ncgroup = \"/kubepods\"\n";
    let port = "[[filter.exclude]]\nexecutable = \"nginx\"\nport = 80\n";
    for (process, text, expect) in [
        (&nginx, "", Verdict::Capture),
        (&nginx, by_container.as_str(), group),
        (&hybrid, &by_container, Verdict::Process),
        (&nginx, only_container, group),
        (&plain, only_container, Verdict::Process),
        (&nginx, only_curl, Verdict::Process),
        (&nginx, not_nginx, Verdict::Process),
        (&nginx, pods, group),
        (&plain, unit, Verdict::Process),
        (&nginx, unit, Verdict::Capture),
        (&nginx, port, Verdict::Connection),
    ] {
        assert_eq!(
            Judge::new(policy(text)).judge(process, Some(80)),
            expect,
            "{text}"
        );
    }
}
