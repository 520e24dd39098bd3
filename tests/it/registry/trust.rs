//! TLS: whom the client believes, what it says of those it does not, and that it never falls
//! back to less.

use std::net::TcpListener;

use crate::registry::yard::{Door, Yard, run};

/// A test authority and a certificate for 127.0.0.1, `NAME.crt` and `NAME.key`, signed by it.
pub(crate) fn certificate(yard: &Yard, name: &str, (alternative, days): (&str, &str)) {
    let of = |end: &str| yard.text(&format!("{name}.{end}"));
    if !yard.path("ca.crt").exists() {
        let (key, out) = (yard.text("ca.key"), yard.text("ca.crt"));
        let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority"];
        run("openssl", &[&words[..], &["-keyout", &key, "-out", &out]].concat());
    }
    let words = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"];
    run("openssl", &[&words[..], &["-keyout", &of("key"), "-out", &of("csr")]].concat());
    std::fs::write(of("ext"), format!("subjectAltName={alternative}\n")).unwrap();
    let (authority, key) = (yard.text("ca.crt"), yard.text("ca.key"));
    let words = ["x509", "-req", "-days", days, "-CAcreateserial", "-CA", &authority, "-CAkey", &key];
    run("openssl", &[&words[..], &["-in", &of("csr"), "-out", &of("crt"), "-extfile", &of("ext")]].concat());
}

#[test]
fn only_a_known_authority_is_believed() {
    let Some(mut yard) = Yard::new() else { return };
    drop(yard.filled());
    certificate(&yard, "server", ("IP:127.0.0.1,DNS:localhost", "2"));
    let server = yard.registry(&Door::Tls(&yard.path("server.crt"), &yard.path("server.key")));
    let (name, host) = (server.name("b/c:a"), format!("127.0.0.1:{}", server.port));
    let unknown = ["no trusted connection", "authority that this machine does not know", "certs.d", "SSL_CERT_FILE"];
    yard.refused(&name, &unknown);

    let file = format!(".config/containers/certs.d/{host}/own.crt");
    yard.write(&file, &yard.read("ca.crt"));
    yard.pull(&name).unwrap();
    std::fs::remove_file(yard.path(&file)).unwrap();
    yard.write(&format!(".config/containers/certs.d/{host}1/own.crt"), &yard.read("ca.crt"));
    yard.clear();
    yard.refused(&name, &unknown);

    let bundle = yard.text("ca.crt");
    yard.variables.insert("SSL_CERT_FILE".to_owned(), bundle);
    yard.pull(&name).unwrap();
    yard.clear();
    yard.write("nonsense.crt", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let nonsense = yard.text("nonsense.crt");
    yard.variables.insert("SSL_CERT_FILE".to_owned(), nonsense);
    yard.refused(&name, &["nonsense.crt` is no file of certificates", "BEGIN CERTIFICATE"]);
    yard.variables.insert("SSL_CERT_FILE".to_owned(), "/nowhere/ca.crt".to_owned());
    yard.refused(&name, &["cannot read the certificates in `/nowhere/ca.crt`"]);
    yard.variables.remove("SSL_CERT_FILE");
    std::fs::create_dir(yard.path("authorities")).unwrap();
    std::fs::copy(yard.path("ca.crt"), yard.path("authorities/0a1b2c3d.0")).unwrap();
    let directories = format!("/nowhere:{}", yard.text("authorities"));
    yard.variables.insert("SSL_CERT_DIR".to_owned(), directories);
    yard.pull(&name).unwrap();
}

#[test]
fn a_certificate_for_another_host_or_time_is_not_believed() {
    let Some(mut yard) = Yard::new() else { return };
    drop(yard.filled());
    certificate(&yard, "other", ("DNS:a.example", "2"));
    certificate(&yard, "old", ("IP:127.0.0.1", "-1"));
    let bundle = yard.text("ca.crt");
    yard.variables.insert("SSL_CERT_FILE".to_owned(), bundle);
    for (name, why) in [("other", "its certificate is for another host"), ("old", "not valid at this time")] {
        let [certificate, key] = ["crt", "key"].map(|end| yard.path(&format!("{name}.{end}")));
        let server = yard.registry(&Door::Tls(&certificate, &key));
        yard.refused(&server.name("b/c:a"), &["no trusted connection", why]);
    }
}

/// containers-certs.d(5): `NAME.cert` and `NAME.key` show a registry who the caller is.
#[test]
fn a_registry_may_ask_who_pulls() {
    let Some(mut yard) = Yard::new() else { return };
    drop(yard.filled());
    certificate(&yard, "server", ("IP:127.0.0.1", "2"));
    certificate(&yard, "caller", ("DNS:caller", "2"));
    let bundle = yard.text("ca.crt");
    yard.variables.insert("SSL_CERT_FILE".to_owned(), bundle);
    let server = yard.registry(&Door::Known(&yard.path("server.crt"), &yard.path("server.key"), &yard.path("ca.crt")));
    let name = server.name("b/c:a");
    yard.refused(&name, &["it wants a certificate of the caller", "`client.cert` and `client.key`"]);
    let own = |end: &str| format!(".config/containers/certs.d/127.0.0.1:{}/client.{end}", server.port);
    yard.write(&own("cert"), &yard.read("caller.crt"));
    yard.refused(&name, &["client.cert` is there without", "client.key"]);
    yard.write(&own("key"), "-----BEGIN PRIVATE KEY-----\nsecret\n");
    let said = yard.refused(&name, &["client.key` is no file with a private key"]);
    assert!(!said.to_string().contains("secret"), "{said}");
    yard.write(&own("key"), &yard.read("caller.key"));
    yard.pull(&name).unwrap();
    std::fs::remove_file(yard.path(&own("cert"))).unwrap();
    yard.clear();
    yard.refused(&name, &["client.key` is there without", "client.cert"]);
}

/// The machine's own addresses: what is not loopback gets no plain HTTP.
#[test]
fn plain_http_stays_on_loopback() {
    let Some(yard) = Yard::new() else { return };
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr()).map(|address| address.ip());
    let Some(own) = own.ok().filter(|own| !own.is_loopback()) else {
        crate::harness::skip("this machine has no address but loopback, so plain HTTP elsewhere is not tried");
        return;
    };
    let listener = TcpListener::bind((own, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (done, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = [0; 5];
        std::io::Read::read_exact(&mut stream, &mut first).unwrap();
        done.send(first).unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").ok();
        // Whatever else comes is thrown away until the client gives up.
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    yard.refused(
        &format!("docker://{own}:{port}/b"),
        &["something else, such as plain HTTP", "loopback addresses only"],
    );
    assert_eq!(heard.recv().unwrap()[..2], [22, 3], "the first bytes are of a TLS handshake");
}
