//! The routes of the OpenAPI document: tests that go over all of them cannot forget one.

use serde_json::Value;

use crate::harness::Server;

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: String,
    /// With `{…}` in it.
    pub(crate) path: String,
    pub(crate) has_body: bool,
}

impl Operation {
    /// The path with something well-formed in every place.
    pub(crate) fn filled(&self) -> String {
        let id = if self.path.contains("sessions/{id}") || self.path.contains("conversations/{id}")
        {
            format!("f{}", "0".repeat(31))
        } else {
            "00000000000000ff".to_owned()
        };
        let path = self.path.replace("{id}", &id).replace("{user}", "00000000000000ff");
        path.replace("{seq}", "2").replace("{emoji}", "%F0%9F%91%8D").replace("{code}", "AAAA")
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whoever has no login may call it.
    pub(crate) fn is_public(&self) -> bool {
        let public = [
            "POST /api/auth/register",
            "POST /api/auth/login",
            "POST /api/auth/refresh",
            "POST /api/auth/logout",
            "GET /api/instance",
            "GET /.well-known/jwks.json",
        ];
        public.contains(&self.name().as_str())
    }
}

pub(crate) fn listed(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let has_body = operation.get("requestBody").is_some();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                has_body,
            });
        }
    }
    operations
}

pub(crate) async fn operations() -> Vec<Operation> {
    let server = Server::spawn().await;
    let document = server.client().get("/api/openapi.json").await.ok();
    let operations = listed(&document);
    assert!(operations.len() > 40, "only {} routes", operations.len());
    operations
}
