//! A minimal HTTP/1.1 for loopback, over threads and blocking sockets, so that the measuring process uses little processor time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Maximum length of a header line, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// A request or an answer.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Its first line, as in `POST / HTTP/1.1`.
    pub first: String,
    /// Header names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads the next message; `None` if the other side has closed the connection.
    ///
    /// # Errors
    /// When the connection breaks or what arrives is not HTTP.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(first) = line(from)? else { return Ok(None) };
        let mut headers = Vec::new();
        while let Some(header) = line(from)?.filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').ok_or_else(|| broken("a header without a colon"))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first, headers, body: Vec::new() };
        message.read_body(from)?;
        Ok(Some(message))
    }

    fn read_body(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        if self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            while let Some(size) = line(from)? {
                let size = usize::from_str_radix(&size, 16).map_err(|_| broken("a chunk without its size"))?;
                self.read_exactly(from, size)?;
                line(from)?;
                if size == 0 {
                    break;
                }
            }
            return Ok(());
        }
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        self.read_exactly(from, length)
    }

    fn read_exactly(&mut self, from: &mut impl BufRead, length: usize) -> io::Result<()> {
        let there = self.body.len();
        self.body.resize(there + length, 0);
        from.read_exact(self.body.get_mut(there..).unwrap_or_default())
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }

    /// Method and path of a request; version and status of an answer.
    pub fn words(&self) -> (&str, &str) {
        let mut words = self.first.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// An answer's status; 0 if it has none.
    pub fn status(&self) -> u16 {
        self.words().1.parse().unwrap_or(0)
    }
}

fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    match from.take(LONGEST_LINE).read_line(&mut line)? {
        0 => Ok(None),
        _ => Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned())),
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The bytes of a message with this first line; its length is added.
pub fn bytes(first: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{first}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// The bytes of a JSON answer.
pub fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    bytes(&format!("HTTP/1.1 {status} -"), &[("content-type", "application/x-amz-json-1.0")], body)
}

/// Listens on a free loopback port and hands every connection to `serve`, on a thread of its own, until the process ends.
///
/// # Errors
/// When no port is free.
pub fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            let _ = stream.set_nodelay(true);
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// Answers every request on a connection until the other side ends it, or `reply` has nothing to say.
pub fn converse<S: Read + Write>(stream: S, mut reply: impl FnMut(Message) -> Option<Vec<u8>>) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(request)) = Message::read(&mut reader) {
        let Some(answer) = reply(request) else { return };
        let written = reader.get_mut().write_all(&answer).and_then(|()| reader.get_mut().flush());
        if written.is_err() {
            return;
        }
    }
}

/// A connection that is kept alive from call to call.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// When the connection is refused.
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn call(&mut self, request: &[u8]) -> io::Result<Message> {
        self.stream.get_mut().write_all(request)?;
        Message::read(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
