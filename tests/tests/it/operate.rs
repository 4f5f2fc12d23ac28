//! What an operator does: starts it wrong, starts it twice, resets a password, drains it.

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener},
    process::Command,
};

use hyper::Method;
use loadtest::{
    http::{Account, Refused},
    scenario::world::{PASSWORD, register},
    server::{Options, Server, binary},
    socket::{OpenError, Socket, Upgrade},
};

fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_says_what_to_do() {
    let server = Server::start(Options::default()).await.unwrap();
    let data = server.data().display().to_string();
    let (good, text) = run(&["--port", "0", "--admin-port", "0", "--data", &data]);
    assert!(!good && text.contains("another process uses this data folder"), "{text}");
    let port = server.address.port().to_string();
    let other = std::env::temp_dir().join(format!("webchat-operate-{}", std::process::id()));
    let other_data = other.display().to_string();
    let (good, text) = run(&["--port", &port, "--admin-port", "0", "--data", &other_data]);
    assert!(!good && text.contains("--port"), "{text}");
    let _ = std::fs::remove_dir_all(other);
}

#[tokio::test]
async fn a_public_address_without_https_is_refused() {
    let (good, text) = run(&["--listen", "0.0.0.0"]);
    assert!(!good && text.contains("--behind-proxy"), "{text}");
}

#[tokio::test]
async fn it_listens_on_ipv6() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    let arguments = ["--listen", "::1"].map(str::to_owned).to_vec();
    let server = Server::start(Options { arguments, ..Options::default() }).await.unwrap();
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, server.address.port()));
    let mut ada = Account::new(address, None);
    ada.register("ada", PASSWORD).await.unwrap();
    let mut bob = Account::new(address, None);
    bob.register("bob", PASSWORD).await.unwrap();
    ada.direct(bob.user).await.unwrap();
    let bearer = Upgrade::bearer(&ada.socket_token);
    Socket::open(address, None, &bearer).await.unwrap();
    // As a page of this server does it: with the cookie, from its own origin.
    let page = Upgrade {
        bearer: None,
        cookie: Some(ada.cookie_header()),
        origin: Some(format!("http://{address}")),
        ..bearer
    };
    Socket::open(address, None, &page).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_password_is_reset_and_the_old_one_is_void() {
    let mut server = Server::start(Options::default()).await.unwrap();
    let person = register(server.address, "forgetful", 0).await.unwrap();
    server.kill().unwrap();
    let data = server.data().to_owned();
    let command = ["reset-password".to_owned(), "forgetful".to_owned()];
    let text = Server::run_command(&Options::default(), &data, &command).unwrap();
    let new = text.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    server.spawn_again().unwrap();
    server.wait_ready().await.unwrap();
    let mut account = Account::new(server.address, None);
    let old = account.login("forgetful", PASSWORD).await.unwrap_err();
    assert_eq!(old.downcast_ref::<Refused>().map(|refused| refused.status), Some(401));
    account.login("forgetful", &new).await.unwrap();
    assert_eq!(account.user, person.user);
}

#[tokio::test]
async fn a_drain_lets_go_of_the_folder_and_the_next_start_finds_everything() {
    let mut server = Server::start(Options::default()).await.unwrap();
    let ada = register(server.address, "ada", 0).await.unwrap();
    let bob = register(server.address, "bob", 1).await.unwrap();
    let id = ada.account.lock().await.direct(bob.user).await.unwrap();
    let mut admin = Account::new(server.admin, None);
    admin.call(Method::POST, "/admin/drain", None).await.unwrap();
    let begun = std::time::Instant::now();
    while server.is_running() {
        assert!(begun.elapsed().as_secs() < 20, "it ends by itself");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.spawn_again().unwrap();
    server.wait_ready().await.unwrap();
    let heads = ada.account.lock().await.heads().await.unwrap();
    assert_eq!(heads.iter().map(|(found, _, seq)| (*found, *seq)).collect::<Vec<_>>(), [(id, 1)]);
}

/// R37 over a restart: what was revoked stays revoked as long as its token could live.
#[tokio::test]
async fn a_login_that_ended_stays_ended_over_a_restart() {
    let mut server = Server::start(Options::default()).await.unwrap();
    let ada = register(server.address, "ada", 0).await.unwrap();
    let mut ada = ada.account.lock().await;
    let upgrade = Upgrade::bearer(&ada.socket_token);
    Socket::open(server.address, None, &upgrade).await.unwrap();
    ada.call(Method::POST, "/api/auth/logout", None).await.unwrap();
    server.restart().await.unwrap();
    let refused = Socket::open(server.address, None, &upgrade).await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused { status: 401, .. }), "{refused:?}");
}
