//! Does TLS reach those that our authority vouches for, and nobody else?
//!
//! A private authority made for the test; a real mosquitto with a TLS listener; TLS before the database.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use simulator::faulty::{Config, Faulty};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    gateway::{Gateway, Setup},
    http::post,
    mosquitto::{self, Mosquitto},
    port, wait_for,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// An authority, a server's certificate of it, and the certificate of another authority.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (authority("ours"), authority("theirs"));
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).unwrap().signed_by(&key, &ours).unwrap();
        let certificates = Self { dir };
        for (name, content) in [
            ("ca.pem", ours.pem()),
            ("other-ca.pem", theirs.pem()),
            ("server.pem", server.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            fs::write(certificates.file(name), content).unwrap();
        }
        certificates
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn a_broker_is_trusted_through_the_given_authority_only() {
    let certificates = Certificates::new();
    let tls_port = port::free();
    let listener = format!(
        "listener {tls_port} 127.0.0.1\ncertfile {}\nkeyfile {}",
        certificates.file("server.pem").display(),
        certificates.file("server.key").display(),
    );
    let Some(broker) = Mosquitto::start_with(&listener) else { return };
    let collect = |ca: &str| {
        format!(
            "[[broker]]\nurl = \"mqtts://localhost:{tls_port}\"\nca_file = \"{}\"\n\
             topics = [\"tele/#\"]\n\
             [[output]]\nid = \"files\"\ntype = \"file\"\npath = \"out.lp\"\n",
            certificates.file(ca).display()
        )
    };
    let mut gateway = Gateway::start(&Setup { journal: "", tables: &collect("other-ca.pem") });
    wait_for("a refusal in the log", PATIENCE, || {
        let log = gateway.log();
        if log.contains("UnknownIssuer") { Ok(()) } else { Err(log) }
    });
    assert_eq!(input(&gateway, "broker:broker"), 0);
    gateway.terminate(PATIENCE);

    gateway.configure(&Setup { journal: "", tables: &collect("ca.pem") });
    gateway.run();
    broker.wait_subscribed("tele/#");
    mosquitto::publish(broker.port, &["-q", "1", "-t", "tele/a", "-m", "m,device=a v=1 7"])
        .unwrap();
    wait_for("the reading", PATIENCE, || {
        let lines = fs::read_to_string(gateway.dir().join("out.lp")).unwrap_or_default();
        if lines == "m,device=a,topic=tele/a v=1.0 7\n" { Ok(()) } else { Err(lines) }
    });
    assert_eq!(input(&gateway, "broker:broker"), 1);
}

/// Connections of that input.
fn input(gateway: &Gateway, name: &str) -> i64 {
    let inputs = gateway.status().inputs;
    inputs.iter().find(|input| input.name == name).expect("the input").connections
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_trusted_through_the_given_authority_only() {
    let certificates = Certificates::new();
    let database = Faulty::start("127.0.0.1:0".parse().unwrap(), Config::default()).await.unwrap();
    let mut front = Front::before(database.address(), &certificates).await;
    fs::write(certificates.file("token"), "test-token").unwrap();
    let output = |ca: &str| {
        format!(
            "[[output]]\nid = \"db\"\ntype = \"influxdb\"\nurl = \"https://localhost:{}\"\n\
             org = \"o\"\nbucket = \"b\"\ntoken = {{ file = \"{}\" }}\nca_file = \"{}\"\n\
             [output.limits]\nbatch_age_max = \"100ms\"\n",
            front.port,
            certificates.file("token").display(),
            certificates.file(ca).display()
        )
    };
    let mut gateway = Gateway::start(&Setup { journal: "", tables: &output("other-ca.pem") });
    post(gateway.http_port, "/write", &[], b"m,device=a v=1 7").unwrap().expect_success();
    wait_for("a refusal in the status", PATIENCE, || {
        let status = gateway.status();
        let output = status.outputs.iter().find(|output| output.id == "db").unwrap();
        let is_told = output.last_error.as_ref().is_some_and(|e| e.contains("UnknownIssuer"));
        if is_told { Ok(()) } else { Err(format!("{output:?}")) }
    });
    assert_eq!((database.points(), gateway.pending("db")), (0, 1));
    gateway.kill(); // It would use its whole grace to deliver.

    gateway.configure(&Setup { journal: "", tables: &output("ca.pem") });
    gateway.run();
    wait_for("delivery", PATIENCE, || match gateway.pending("db") {
        0 => Ok(()),
        pending => Err(format!("{pending} pending")),
    });
    assert_eq!(database.points(), 1);
    front.tasks.shutdown().await;
}

#[test]
fn a_certificate_file_that_is_none_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let output = |ca: &Path, url: &str| {
        format!(
            "[[output]]\nid = \"db\"\ntype = \"influxdb\"\nurl = \"{url}\"\ndatabase = \"d\"\n\
             ca_file = \"{}\"\n",
            ca.display()
        )
    };
    let ca = dir.path().join("nowhere.pem");
    let tables = output(&ca, "https://localhost:1");
    let gateway = Gateway::prepare(&Setup { journal: "", tables: &tables });
    let said = gateway.command().args(["run", "-c"]).arg(gateway.config_file()).output().unwrap();
    let log = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(75), "{log}");
    assert!(log.contains("output `db`: tls: ") && log.contains("nowhere.pem"), "{log}");

    let tables = output(&ca, "http://localhost:1");
    gateway.configure(&Setup { journal: "", tables: &tables });
    let said = gateway.command().args(["check", "-c"]).arg(gateway.config_file()).output().unwrap();
    let problems = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(64), "{problems}");
    assert!(problems.contains("`ca_file` has no use without TLS"), "{problems}");
}

/// Ends TLS before a server that speaks without.
struct Front {
    port: u16,
    tasks: JoinSet<()>,
}

impl Front {
    async fn before(server: SocketAddr, certificates: &Certificates) -> Self {
        let chain = CertificateDer::pem_file_iter(certificates.file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(forward(stream, acceptor.clone(), server));
            }
        });
        Self { port, tasks }
    }
}

/// A client that does not trust us goes away in the handshake: nothing to forward then.
async fn forward(stream: TcpStream, acceptor: TlsAcceptor, server: SocketAddr) {
    let Ok(mut inside) = acceptor.accept(stream).await else { return };
    let mut outside = TcpStream::connect(server).await.unwrap();
    drop(copy_bidirectional(&mut inside, &mut outside).await);
}
