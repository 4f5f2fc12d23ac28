//! Settings files, and the rules that settings of every process obey.
//!
//! Owns: reading TOML, unknown keys, the rules of addresses. Never does: know all settings of a process. Talks to: the file.
//! Start reading at: [`parse`].

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use protocol::Network;
use serde::{Serialize, de::DeserializeOwned};

/// What is wrong with the settings: all of it, each with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Wrong(pub Vec<String>);

/// Reads a settings file; without one, the defaults. Errors: not readable, not TOML, and every unknown key.
pub fn read<T>(file: Option<&Path>) -> Result<T, Wrong>
where
    T: Default + Serialize + DeserializeOwned,
{
    let Some(path) = file else { return Ok(T::default()) };
    let named = |text: String| format!("{}: {text}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| Wrong(vec![format!("cannot read {}: {error}", path.display())]))?;
    parse(&text).map_err(|Wrong(problems)| Wrong(problems.into_iter().map(named).collect()))
}

/// Reads TOML over the defaults. The keys that there are, are those of the defaults.
pub fn parse<T>(text: &str) -> Result<T, Wrong>
where
    T: Default + Serialize + DeserializeOwned,
{
    let wrong = |error: &dyn std::fmt::Display| Wrong(vec![error.to_string().trim().to_owned()]);
    let given: toml::Table = toml::from_str(text).map_err(|error| wrong(&error))?;
    let known = toml::Table::try_from(T::default()).map_err(|error| wrong(&error))?;
    let (mut settings, mut unknown) = (known, Vec::new());
    lay_over(given, &mut settings, "", &mut unknown);
    if unknown.is_empty() {
        settings.try_into().map_err(|error| wrong(&error))
    } else {
        Err(Wrong(unknown))
    }
}

/// Puts what was given over the defaults, and notes the keys that have none.
fn lay_over(
    given: toml::Table,
    settings: &mut toml::Table,
    above: &str,
    unknown: &mut Vec<String>,
) {
    for (key, value) in given {
        match (value, settings.get_mut(&key)) {
            (toml::Value::Table(given), Some(toml::Value::Table(inner))) => {
                lay_over(given, inner, &format!("{above}{key}."), unknown);
            }
            (value, Some(place)) => *place = value,
            (_, None) => {
                let keys: Vec<&str> = settings.keys().map(String::as_str).collect();
                let there = keys.join(", ");
                unknown.push(format!("unknown key {above}{key}; there are: {there}"));
            }
        }
    }
}

/// Proxies are believed; one on the same machine is, once it was said that there is one.
pub fn default_proxies(behind_proxy: bool, proxies: &mut Vec<Network>) {
    if behind_proxy && proxies.is_empty() {
        *proxies =
            vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into(), IpAddr::V6(Ipv6Addr::LOCALHOST).into()];
    }
}

/// What is wrong with where a process listens and with the origins of its pages.
pub fn front_problems(listen: IpAddr, behind_proxy: bool, origins: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if !listen.is_loopback() && !behind_proxy {
        problems.push(format!(
            "listen = {listen}: other machines would log in over plain http. Put something that speaks https in front \
             and add --behind-proxy, or leave --listen away."
        ));
    }
    if behind_proxy && origins.is_empty() {
        problems.push(
            "behind_proxy needs the address that browsers use: --origin https://chat.example.org"
                .to_owned(),
        );
    }
    for origin in origins {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !rest.is_some_and(|host| !host.is_empty() && !host.contains('/')) {
            problems.push(format!(
                "origin {origin:?}: give scheme and host only, such as https://chat.example.org"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Inner {
        deep: u16,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Outer {
        port: u16,
        inner: Inner,
    }

    #[test]
    fn every_unknown_key_is_told_at_once_with_those_that_there_are() {
        let good = parse::<Outer>("port = 1\n[inner]\ndeep = 2").unwrap();
        assert_eq!(good, Outer { port: 1, inner: Inner { deep: 2 } });
        let Wrong(problems) =
            parse::<Outer>("prot = 1\n[inner]\ndepe = 2\n[other]\nx = 1").unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(problems.contains(&"unknown key inner.depe; there are: deep".to_owned()));
        let Wrong(text) = parse::<Outer>("port = 'x'").unwrap_err();
        assert!(text[0].contains("port"), "{text:?}");
        assert!(parse::<Outer>("port =").is_err());
    }
}
