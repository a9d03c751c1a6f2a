//! The service over real HTTP on loopback, and a client that sends exactly the bytes it is told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use paperround::app::App;
use paperround::web::{self, Web};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::TestApp;

/// A running web role. Ends with [`Site::stop`], or with the test.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<Result<(), web::ServeError>>,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The values of a header, which is named in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        values.map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name}: {values:?}");
        values.first().copied()
    }

    /// The headers that may not depend on who asks: all but the date and the request's id.
    pub(crate) fn steady_headers(&self) -> Vec<(String, String)> {
        let steady = |(name, _): &&(String, String)| name != "date" && name != "x-request-id";
        self.headers.iter().filter(steady).cloned().collect()
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl TestApp {
    /// Serves this app on a port of its own.
    pub(crate) async fn serve(&self) -> Site {
        Site::start(self.app.clone()).await
    }
}

impl Site {
    pub(crate) async fn start(app: Arc<App>) -> Self {
        Self::of(Web::new(app).expect("the pages compile")).await
    }

    pub(crate) async fn of(web: Web) -> Self {
        let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let served = tokio::spawn(web::serve(web, listener, stop.clone()));
        Self {
            address,
            stop,
            served,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Posts a form as a browser does.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ];
        self.send("POST", path, &headers, &body).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &str) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send("POST", path, &headers, body).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if method == "POST" || !body.is_empty() {
            request.extend(["content-length: ", &body.len().to_string(), "\r\n"]);
        }
        request.push_str("connection: close\r\n\r\n");
        request.push_str(body);
        parse(&self.raw(request.as_bytes()).await)
    }

    /// What comes back for exactly these bytes, until the service closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request).await.expect("it is read");
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(std::time::Duration::from_mins(1), read)
            .await
            .expect("it answers in time")
            .expect("it answers");
        answer
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("it takes connections")
    }

    /// Ends the service in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let served = self.served.await.expect("it does not panic");
        served.expect("it ends well");
    }
}

/// Reads one answer; the body is taken as it came or put together from its chunks.
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer in {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let is_chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    assert!(!is_chunked, "answers of ours know their length");
    Answer {
        status: status.and_then(|code| code.parse().ok()).expect("a status"),
        headers,
        body: body.to_owned(),
    }
}
