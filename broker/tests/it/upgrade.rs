//! What happens before a socket is a connection.

use std::time::Duration;

use token::Audience;
use tokio::time::{sleep, timeout};

use crate::{
    client::{Client, UPGRADE, get, request},
    harness::{ADA, BOB, Broker, ORIGIN},
};

#[tokio::test]
async fn r1_the_upgrade_needs_the_sub_protocol_and_its_form() {
    let broker = Broker::spawn().await;
    let bearer = broker.bearer(ADA);
    for (missing, _) in UPGRADE {
        let mut headers = UPGRADE.to_vec();
        headers.retain(|(name, _)| *name != missing);
        headers.push(("Authorization", &bearer));
        let (status, ..) = request(broker.address, &get("/ws", &headers)).await;
        assert_eq!(status, 400, "without {missing}");
    }
    let (status, head, _) = Client::upgrade(broker.address, &[("Authorization", &bearer)]).await;
    let head = head.to_ascii_lowercase();
    assert_eq!(status, 101);
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert!(head.contains("sec-websocket-protocol: webchat.v1"), "{head}");
    assert!(!head.contains("extensions"), "no extension is accepted");
    assert_eq!(request(broker.address, &get("/other", &[])).await.0, 404);
}

#[tokio::test]
async fn r2_r3_a_token_is_needed_and_a_cookie_is_good_from_our_pages_only() {
    let broker = Broker::spawn().await;
    let cookie = format!("webchat_access={}", broker.token(Audience::Access, ADA, 1));
    let wrong = format!("Bearer {}", broker.token(Audience::Access, ADA, 1));
    let bearer = broker.bearer(ADA);
    let table: [(&[(&str, &str)], u16); 7] = [
        (&[], 401),
        (&[("Authorization", "Bearer nonsense")], 401),
        (&[("Authorization", &wrong)], 401),
        (&[("Cookie", &cookie)], 403),
        (&[("Cookie", &cookie), ("Origin", "http://chat.test.evil.example")], 403),
        (&[("Cookie", &cookie), ("Origin", ORIGIN)], 101),
        (&[("Authorization", &bearer)], 101),
    ];
    for (headers, expected) in table {
        assert_eq!(Client::upgrade(broker.address, headers).await.0, expected, "{headers:?}");
    }
    broker.revoke(1).await;
    let headers = [("Cookie", cookie.as_str()), ("Origin", ORIGIN)];
    assert_eq!(Client::upgrade(broker.address, &headers).await.0, 401, "revoked");
}

#[tokio::test]
async fn r4_a_full_node_says_when_to_come_back_and_has_room_again() {
    let broker = Broker::spawn_with(|config| config.connections_max = 1).await;
    let first = broker.connect(ADA).await;
    let bearer = broker.bearer(BOB);
    let (status, head, _) = Client::upgrade(broker.address, &[("Authorization", &bearer)]).await;
    assert_eq!(status, 503);
    assert!(head.to_ascii_lowercase().contains("retry-after"), "{head}");
    drop(first);
    let admitted = async {
        while Client::upgrade(broker.address, &[("Authorization", &bearer)]).await.0 != 101 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), admitted).await.expect("the seat is free again");
}

#[tokio::test]
async fn r4_one_user_cannot_take_all_connections() {
    let broker = Broker::spawn_with(|config| config.connections_per_user_max = 1).await;
    let _first = broker.join(ADA).await;
    let bearer = broker.bearer(ADA);
    assert_eq!(Client::upgrade(broker.address, &[("Authorization", &bearer)]).await.0, 429);
    broker.join(BOB).await;
}

#[tokio::test]
async fn the_admin_port_shows_the_node() {
    let broker = Broker::spawn().await;
    let _ada = broker.join(ADA).await;
    for path in ["/livez", "/readyz", "/metrics", "/debug/shards", "/startupz"] {
        assert_eq!(request(broker.admin, &get(path, &[])).await.0, 200, "{path}");
    }
    assert!(broker.node.metrics.render().contains("broker_handshakes_total{result=\"ok\"} 1"));
}
