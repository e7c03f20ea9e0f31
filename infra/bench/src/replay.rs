//! DynamoDB over TLS: in front of the local cloud, so that a function pays for the encryption it would pay for on AWS, and
//! not for the emulator. A read that was asked before is answered from memory; everything else goes on to the emulator.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use undercroft::error::Source;

use crate::http1::{self, Connection, Message};

/// Operations whose answer may be given again.
const READS: [&str; 3] = ["DynamoDB_20120810.GetItem", "DynamoDB_20120810.Query", "DynamoDB_20120810.BatchGetItem"];

/// The TLS endpoint.
#[derive(Debug)]
pub struct Replay {
    /// Its address, `https://...`.
    pub endpoint: String,
    /// The certificate authority to trust, as `AWS_CA_BUNDLE` wants it. Made for this run.
    pub authority: PathBuf,
}

impl Replay {
    /// Starts it before `upstream` (`http://host:port`); the authority's certificate is written into `folder`.
    ///
    /// # Errors
    /// When no port can be had or the folder cannot be written.
    pub fn start(upstream: &str, folder: &Path) -> Result<Self, Source> {
        let (config, certificate) = tls()?;
        let authority = folder.join("authority.pem");
        fs::write(&authority, certificate)?;
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let known = Arc::new(Mutex::new(HashMap::new()));
        let address = http1::listen(move |stream| {
            let _ = serve(stream, &config, &upstream, &known);
        })?;
        Ok(Self { endpoint: format!("https://localhost:{}", address.port()), authority })
    }
}

type Known = Mutex<HashMap<(String, String), Vec<u8>>>;

fn serve(stream: TcpStream, config: &Arc<ServerConfig>, upstream: &str, known: &Known) -> Result<(), Source> {
    let connection = ServerConnection::new(Arc::clone(config))?;
    let mut beyond = None;
    http1::converse(StreamOwned::new(connection, stream), |request| reply(&request, upstream, &mut beyond, known).ok());
    Ok(())
}

fn reply(request: &Message, upstream: &str, beyond: &mut Option<Connection>, known: &Known) -> io::Result<Vec<u8>> {
    let target = request.header("x-amz-target").unwrap_or_default().to_owned();
    // An SDK writes the members of an object in any order; parsed and written again they have one.
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default().to_string();
    let question = (target, body);
    let memory = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = memory().get(&question) {
        return Ok(answer.clone());
    }
    let connection = match beyond {
        Some(connection) => connection,
        None => beyond.insert(Connection::open(upstream)?),
    };
    let answer = pass_on(request, connection)?;
    let bytes = http1::answer(answer.status(), &answer.body);
    if answer.status() == 200 && READS.contains(&question.0.as_str()) {
        memory().insert(question, bytes.clone());
    }
    Ok(bytes)
}

/// Hands a request to the emulator, with all that is signed of it.
///
/// # Errors
/// When the emulator does not answer.
pub fn pass_on(request: &Message, connection: &mut Connection) -> io::Result<Message> {
    let is_kept = |name: &str| ["host", "content-type", "authorization"].contains(&name) || name.starts_with("x-amz-");
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers: Vec<_> = headers.filter(|(name, _)| is_kept(name)).collect();
    connection.call(&http1::bytes("POST / HTTP/1.1", &headers, &request.body))
}

/// A server's side of TLS, and the certificate of the authority that vouches for it.
fn tls() -> Result<(Arc<ServerConfig>, String), Source> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(authority, key_pair()?)?;
    let mut server = CertificateParams::new(vec!["localhost".to_owned()])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = key_pair()?;
    let certificate = server.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((Arc::new(config), authority.pem()))
}

/// A key of the kind that AWS's own endpoints and their authorities have, RSA with 2048 bits: verifying one costs a client a
/// tenth of what an elliptic one does. Made by OpenSSL, since ring only uses such keys.
fn key_pair() -> Result<KeyPair, Source> {
    let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let made = Command::new("openssl").args(arguments).output().map_err(|error| format!("openssl: {error}"))?;
    Ok(KeyPair::from_pem(&String::from_utf8(made.stdout)?)?)
}
