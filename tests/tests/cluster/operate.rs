//! What an operator does with the programs of a cluster.

use std::{process::Command, time::Duration};

use crate::servers::{LOG, Plan, Process, exists, program, redis, run};

#[tokio::test]
async fn a_process_that_waits_ends_at_once_when_it_is_told_to() {
    let plan = Plan::new();
    for mut process in [plan.broker(), plan.api()] {
        process.address("admin").await;
        process.term();
        let status = process.ends_within(Duration::from_secs(2)).await;
        assert!(status.success(), "{status}: {}", process.said());
    }
}

#[tokio::test]
async fn a_log_below_the_level_asked_for_is_refused_with_what_is_missing() {
    let plan = Plan::new();
    let _log = redis(&plan.folder, "log", plan.log, &LOG.replace("always", "everysec"));
    let _live = plan.live_server();
    for mut command in [plan.api_command(), plan.broker_command()] {
        let mut process = Process::start("too weak", &mut command);
        let status = process.ends_within(Duration::from_secs(10)).await;
        let said = process.said();
        assert!(!status.success() && said.contains("appendfsync is not always"), "{said}");
        assert!(said.contains("L1") && said.contains("L2"), "{said}");
    }
    let mut api = Process::start("allowed", plan.api_command().args(["--durability", "everysec"]));
    api.address("webchat-api").await;
    assert!(api.said().contains("everysec"), "it says what it risks: {}", api.said());
}

#[tokio::test]
async fn a_second_api_on_the_same_folder_is_refused_and_says_why() {
    let mut plan = Plan::new();
    let mut first = plan.api();
    first.address("admin").await;
    plan.internal = 0;
    let mut second = plan.api();
    let status = second.ends_within(Duration::from_secs(10)).await;
    assert!(
        !status.success() && second.said().contains("another webchat-api"),
        "{}",
        second.said()
    );
}

#[test]
fn everything_wrong_is_told_at_once_and_by_name() {
    for name in ["webchat-broker", "webchat-api"] {
        let mut command = Command::new(program(name));
        command.args(["--listen", "0.0.0.0", "--origin", "chat.example.org"]);
        command.env_remove("WEBCHAT_CLUSTER_SECRET");
        let (good, text) = run(&mut command);
        assert!(!good && text.lines().count() >= 5, "{text}");
        for part in
            ["--behind-proxy", "chat.example.org", "--log ", "--live ", "--cluster-secret-file"]
        {
            assert!(text.contains(part), "{name} {part}: {text}");
        }
        let file = Plan::new();
        let path = file.folder.path("settings.toml");
        std::fs::write(&path, "prot = 1\n[limits]\ntrusted = []\n").unwrap();
        let (good, text) = run(Command::new(program(name)).args(["--config", &path]));
        let both = text.contains("unknown key prot") && text.contains("unknown key limits.trusted");
        assert!(!good && both, "{text}");
    }
}

#[test]
fn printed_settings_are_a_settings_file_that_prints_itself_and_holds_no_password() {
    let plan = Plan::new();
    for (mut command, name) in
        [(plan.api_command(), "webchat-api"), (plan.broker_command(), "webchat-broker")]
    {
        let (good, first) = run(command.arg("--print-config"));
        assert!(good && first.contains(&format!("{}", plan.log)), "{first}");
        let path = plan.folder.path("printed.toml");
        std::fs::write(&path, &first).unwrap();
        let mut again = Command::new(program(name));
        let (good, second) = run(again.args(["--config", &path, "--print-config"]));
        assert!(good && first == second, "{first}\n---\n{second}");
        let mut secret = Command::new(program(name));
        secret.env("WEBCHAT_LOGS", "redis://broker:s3cret@127.0.0.1:1").arg("--print-config");
        let (good, text) = run(&mut secret);
        assert!(good && text.contains("broker:***@") && !text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn check_tells_each_dependency_and_the_level_and_fails_when_one_is_missing() {
    let plan = Plan::new();
    let (_log, live) = (plan.log_server(), plan.live_server());
    let check = |mut command: Command| {
        let (good, text) = run(command.arg("check"));
        (good, text)
    };
    let (good, text) = check(plan.broker_command());
    assert!(!good && text.contains("FAILED  archive") && text.contains("FAILED  keys"), "{text}");
    let (good, text) = check(plan.api_command());
    assert!(!good && text.contains("FAILED  store"), "{text}");
    assert!(!exists(&plan.folder.path("data")), "a check makes nothing");
    let mut api = plan.api();
    api.address("webchat-api").await;
    let (good, text) = check(plan.broker_command());
    assert!(good && text.contains("level L2, L2 is asked for"), "{text}");
    assert_eq!(text.matches("ok  ").count(), 4, "{text}");
    let (good, text) = check(plan.api_command());
    assert!(good && text.matches("ok  ").count() == 4, "{text}");
    drop(live);
    let (good, text) = check(plan.broker_command());
    assert!(!good && text.contains("FAILED  live") && text.contains("ok      log"), "{text}");
    // Another secret: the api says so, and the broker passes it on.
    let other = "another secret of more than 32 bytes\n";
    std::fs::write(plan.folder.path("secret"), other).unwrap();
    let (good, text) = check(plan.broker_command());
    assert!(!good && text.contains("Denied"), "{text}");
}
