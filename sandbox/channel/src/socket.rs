//! Messages over a pair of connected sockets: init inherits its end, or connects to where its host
//! listens. They are unix sockets, but for the two inits of a task, which share loopback alone.
//!
//! A frame is the length of its JSON (4 bytes, big endian) and the JSON:
//! `{"version": 7, "descriptors": ["builtin.key", ...], "message": ...}`. The descriptors travel
//! with the frame's first byte (`SCM_RIGHTS`, unix(7)), in the order of their names.

use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;

use async_trait::async_trait;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::{
    Channel, ChannelError, Descriptors, MAX_DESCRIPTORS, MAX_TO_HOST, MAX_TO_INIT, MAX_TO_PEER,
    ToHost, ToInit, ToProxy, ToStep, VERSION,
};

/// One end of a pair of sockets.
#[derive(Debug)]
pub struct Socket<Out, In> {
    stream: Stream,
    /// The largest message that is received, in bytes.
    limit: usize,
    types: PhantomData<fn(Out) -> In>,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn unix(descriptor: OwnedFd) -> io::Result<Self> {
        let stream = StdStream::from(descriptor);
        stream.set_nonblocking(true)?;
        Ok(Self::Unix(UnixStream::from_std(stream)?))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        let copy = self.descriptor().try_clone_to_owned()?;
        match self {
            Self::Unix(_) => Self::unix(copy),
            Self::Tcp(_) => TcpStream::from_std(copy.into()).map(Self::Tcp),
        }
    }

    async fn io<R>(&self, interest: Interest, act: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Unix(stream) => stream.async_io(interest, act).await,
            Self::Tcp(stream) => stream.async_io(interest, act).await,
        }
    }

    /// Waits for something to read. Whether the other side has closed its end.
    async fn is_closed(&self) -> io::Result<bool> {
        // Somebody else reads what is there: the next call waits for the next change.
        let passed = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let (ready, _) = match self {
            Self::Unix(stream) => (
                stream.ready(Interest::READABLE).await?,
                stream.try_io(Interest::READABLE, passed),
            ),
            Self::Tcp(stream) => (
                stream.ready(Interest::READABLE).await?,
                stream.try_io(Interest::READABLE, passed),
            ),
        };
        Ok(ready.is_read_closed())
    }
}

#[derive(Serialize)]
struct Frame<'a, T> {
    version: u32,
    descriptors: Vec<&'a str>,
    message: &'a T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received<T> {
    #[expect(dead_code, reason = "checked before the rest is read")]
    version: u64,
    descriptors: Vec<String>,
    message: T,
}

/// What every version of a frame has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u64,
}

impl Socket<ToInit, ToHost> {
    /// A new channel: the host's side, and the descriptor that init inherits. Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (host, init) = StdStream::pair()?;
        Ok((Self::new(host.into(), MAX_TO_HOST)?, init.into()))
    }

    /// The host's side of the connection that init has made. Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn accepted(connection: OwnedFd) -> io::Result<Self> {
        Self::new(connection, MAX_TO_HOST)
    }
}

impl Socket<ToHost, ToInit> {
    /// Init's side, on the descriptor that it inherited. Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn inherited(descriptor: OwnedFd) -> io::Result<Self> {
        Self::new(descriptor, MAX_TO_INIT)
    }

    /// Init's side, connected to where its host listens.
    ///
    /// # Errors
    /// The system's answer.
    pub async fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        Self::new(stream.into_std()?.into(), MAX_TO_INIT)
    }
}

impl Socket<ToProxy, ToStep> {
    /// A new pair: the side of a step's init, and the descriptor for its egress proxy. Needs a
    /// runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn to_proxy() -> io::Result<(Self, OwnedFd)> {
        let (step, proxy) = StdStream::pair()?;
        Ok((Self::new(step.into(), MAX_TO_PEER)?, proxy.into()))
    }

    /// The side of a step's init, connected to where its proxy listens for it.
    ///
    /// # Errors
    /// The system's answer.
    pub fn connected_to_proxy(stream: TcpStream) -> io::Result<Self> {
        Self::over_tcp(stream, MAX_TO_PEER)
    }
}

impl Socket<ToStep, ToProxy> {
    /// The proxy's side of such a pair. Needs a runtime.
    ///
    /// # Errors
    /// The system's answer.
    pub fn to_step(descriptor: OwnedFd) -> io::Result<Self> {
        Self::new(descriptor, MAX_TO_PEER)
    }

    /// The proxy's side of a connection that its step's init has made. It carries the order, too.
    ///
    /// # Errors
    /// The system's answer.
    pub fn accepted_from_step(stream: TcpStream) -> io::Result<Self> {
        Self::over_tcp(stream, MAX_TO_INIT)
    }
}

impl<Out, In> Socket<Out, In> {
    fn new(descriptor: OwnedFd, limit: usize) -> io::Result<Self> {
        Ok(Self::over(Stream::unix(descriptor)?, limit))
    }

    fn over_tcp(stream: TcpStream, limit: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream), limit))
    }

    const fn over(stream: Stream, limit: usize) -> Self {
        Self {
            stream,
            limit,
            types: PhantomData,
        }
    }

    /// Returns once the other side has ended or closed its end. It is independent of this value and
    /// reads nothing.
    ///
    /// # Errors
    /// The system's answer.
    pub fn closed(&self) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let stream = self.stream.try_clone()?;
        Ok(async move { while let Ok(false) = stream.is_closed().await {} })
    }

    /// Fills `buffer`, and adds what descriptors arrive with it to `carried`. A read ends where
    /// another message's descriptors would begin (unix(7)), so those are never taken along.
    async fn fill(
        &self,
        buffer: &mut [u8],
        carried: &mut Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let read = || receive(self.stream.descriptor(), rest, carried);
            let read = self.stream.io(Interest::READABLE, read).await;
            match read.map_err(closed)? {
                0 => return Err(ChannelError::Closed),
                read => filled += read,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<Out, In> Channel<Out, In> for Socket<Out, In>
where
    Out: Serialize + Sync,
    In: DeserializeOwned + Send,
{
    async fn send(&mut self, message: &Out, descriptors: Descriptors) -> Result<(), ChannelError> {
        let frame = Frame {
            version: VERSION,
            descriptors: descriptors.keys().map(String::as_str).collect(),
            message,
        };
        let json = serde_json::to_vec(&frame)?;
        let too_large = |_| ChannelError::TooLarge {
            length: json.len(),
            limit: u32::MAX as usize,
        };
        let length = u32::try_from(json.len()).map_err(too_large)?;
        let bytes = [length.to_be_bytes().as_slice(), &json].concat();
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(ChannelError::Descriptors {
                named: descriptors.len(),
                carried: descriptors.len(),
            });
        }
        let (mut rest, mut descriptors) = (bytes.as_slice(), descriptors);
        while !rest.is_empty() {
            let write = || send(self.stream.descriptor(), rest, &descriptors);
            let sent = self.stream.io(Interest::WRITABLE, write).await;
            rest = rest.get(sent.map_err(closed)?..).unwrap_or_default();
            // They have gone with the first byte.
            descriptors.clear();
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(In, Descriptors), ChannelError> {
        let mut carried = Vec::new();
        let mut length = [0; 4];
        self.fill(&mut length, &mut carried).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(ChannelError::TooLarge {
                length,
                limit: self.limit,
            });
        }
        let mut json = vec![0; length];
        self.fill(&mut json, &mut carried).await?;
        let AnyVersion { version } = serde_json::from_slice(&json)?;
        if version != u64::from(VERSION) {
            return Err(ChannelError::Version(version));
        }
        let received: Received<In> = serde_json::from_slice(&json)?;
        let (named, carried_count) = (received.descriptors.len(), carried.len());
        let descriptors: Descriptors = received.descriptors.into_iter().zip(carried).collect();
        // A name twice leaves fewer in the map.
        if named != carried_count || named != descriptors.len() {
            return Err(ChannelError::Descriptors {
                named,
                carried: carried_count,
            });
        }
        Ok((received.message, descriptors))
    }
}

fn closed(error: io::Error) -> ChannelError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ChannelError::Closed,
        _ => error.into(),
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &Descriptors) -> io::Result<usize> {
    let descriptors: Vec<_> = descriptors.values().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

/// Reads once. What does not fit into the space for descriptors is closed by the kernel.
fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    carried: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let read = recvmsg(
        socket,
        &mut [IoSliceMut::new(bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            carried.extend(descriptors);
        }
    }
    if carried.len() > MAX_DESCRIPTORS {
        let error = format!("more than {MAX_DESCRIPTORS} descriptors came with one message");
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(read.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};

    use serde_json::{Value, json};

    use super::*;

    type Init = Socket<ToHost, ToInit>;

    fn pair() -> (Socket<ToInit, ToHost>, Init) {
        let (host, init) = Socket::pair().unwrap();
        (host, Init::inherited(init).unwrap())
    }

    /// Init's side, with raw bytes waiting for it and the other end closed.
    fn told(bytes: &[u8]) -> Init {
        let (mut host, init) = StdStream::pair().unwrap();
        host.write_all(bytes).unwrap();
        Init::inherited(init.into()).unwrap()
    }

    fn frame(json: &Value) -> Vec<u8> {
        let json = json.to_string();
        let length = u32::try_from(json.len()).unwrap();
        [&length.to_be_bytes(), json.as_bytes()].concat()
    }

    fn a_file(content: &str) -> OwnedFd {
        let (read, write) = rustix::pipe::pipe().unwrap();
        File::from(write).write_all(content.as_bytes()).unwrap();
        read
    }

    fn content(descriptor: OwnedFd) -> String {
        let mut content = String::new();
        File::from(descriptor).read_to_string(&mut content).unwrap();
        content
    }

    #[tokio::test]
    async fn messages_arrive_in_order_with_their_own_descriptors() {
        let (mut host, mut init) = pair();
        for number in ["one", "two"] {
            let descriptors = ["b.y", "a.x"]
                .map(|name| (name.to_owned(), a_file(&format!("{name} of {number}"))))
                .into();
            host.send(&ToInit::Go, descriptors).await.unwrap();
        }
        host.send(&ToInit::Go, Descriptors::new()).await.unwrap();
        for number in ["one", "two"] {
            let (message, descriptors) = init.receive().await.unwrap();
            assert!(matches!(message, ToInit::Go));
            for (name, descriptor) in descriptors {
                let flags = rustix::io::fcntl_getfd(&descriptor).unwrap();
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
                assert_eq!(content(descriptor), format!("{name} of {number}"));
            }
        }
        assert!(init.receive().await.unwrap().1.is_empty());
    }

    #[tokio::test]
    async fn a_message_larger_than_the_sockets_buffer_arrives_whole() {
        let (mut host, mut init) = pair();
        let message = "x".repeat(MAX_TO_HOST - 200);
        let error = ToHost::Error {
            code: "c".to_owned(),
            message,
        };
        let (sent, received) = tokio::join!(init.send(&error, Descriptors::new()), host.receive());
        sent.unwrap();
        assert_eq!(received.unwrap().0, error);
    }

    #[tokio::test]
    async fn another_version_is_told_apart_from_a_malformed_message() {
        let newer = json!({"version": VERSION + 1, "shape": "nobody knows"});
        let Err(error) = told(&frame(&newer)).receive().await else {
            panic!("received")
        };
        assert!(
            matches!(error, ChannelError::Version(version) if version == u64::from(VERSION + 1)),
            "{error}"
        );
        assert!(error.to_string().contains("same release"), "{error}");
        for malformed in [
            json!({"message": "go", "descriptors": []}),
            json!({"version": VERSION, "message": "go"}),
            json!({"version": VERSION, "message": "stop", "descriptors": []}),
            json!({"version": VERSION, "message": "go", "descriptors": [], "more": 1}),
        ] {
            let received = told(&frame(&malformed)).receive().await;
            assert!(
                matches!(received, Err(ChannelError::Malformed(_))),
                "{malformed}"
            );
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_not_read() {
        let length = u32::try_from(MAX_TO_INIT + 1).unwrap().to_be_bytes();
        let received = told(&length).receive().await;
        assert!(matches!(received, Err(ChannelError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_message_that_is_cut_off_is_no_message() {
        let whole = frame(&json!({"version": VERSION, "message": "go", "descriptors": []}));
        assert!(told(&whole).receive().await.is_ok());
        for end in 0..whole.len() {
            let received = told(&whole[..end]).receive().await;
            assert!(matches!(received, Err(ChannelError::Closed)), "{end}");
        }
    }

    #[tokio::test]
    async fn descriptors_are_those_that_the_message_names() {
        for names in [json!([]), json!(["a.x", "b.y"]), json!(["a.x", "a.x"])] {
            let (host, init) = StdStream::pair().unwrap();
            let bytes = frame(&json!({"version": VERSION, "message": "go", "descriptors": names}));
            let one = [("a.x".to_owned(), a_file(""))].into();
            assert_eq!(send(host.as_fd(), &bytes, &one).unwrap(), bytes.len());
            let received = Init::inherited(init.into()).unwrap().receive().await;
            assert!(
                matches!(received, Err(ChannelError::Descriptors { .. })),
                "{names}"
            );
        }
        let (mut host, _init) = pair();
        let many = (0..=MAX_DESCRIPTORS).map(|number| (format!("a.{number}"), a_file("")));
        let sent = host.send(&ToInit::Go, many.collect()).await;
        assert!(matches!(sent, Err(ChannelError::Descriptors { .. })));
    }

    #[tokio::test]
    async fn the_end_of_the_other_side_is_noticed_behind_what_it_has_sent() {
        let (mut host, mut init) = pair();
        let mut closed = Box::pin(init.closed().unwrap());
        host.send(&ToInit::Go, Descriptors::new()).await.unwrap();
        let moment = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, &mut closed).await.is_err());
        drop(host);
        closed.await;
        assert!(init.receive().await.is_ok(), "and nothing of it is lost");
    }

    #[tokio::test]
    async fn init_connects_to_where_its_host_listens() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("channel");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let (init, accepted) = tokio::join!(Init::connect(&path), listener.accept());
        let connection = accepted.unwrap().0.into_std().unwrap();
        let mut host = Socket::accepted(connection.into()).unwrap();
        host.send(&ToInit::Go, Descriptors::new()).await.unwrap();
        assert!(matches!(
            init.unwrap().receive().await.unwrap().0,
            ToInit::Go
        ));
    }

    #[tokio::test]
    async fn a_side_that_is_gone_is_told() {
        let (mut host, init) = pair();
        drop(init);
        let sent = host.send(&ToInit::Go, Descriptors::new()).await;
        assert!(matches!(sent, Err(ChannelError::Closed)));
        assert!(matches!(host.receive().await, Err(ChannelError::Closed)));
    }
}
