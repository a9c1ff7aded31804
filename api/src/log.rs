//! Where log lines go: to standard error, those of requests several at once.
//!
//! A system call for each of them, which two requests cannot make at the same time, would cost as much as the answer. So
//! they wait for each other for a moment; whatever else is logged is written at once, behind those that wait.

mod format;

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

pub(crate) use format::Format;

/// How long a line waits for others. As much of the log is lost when the process is killed.
const PAUSE: Duration = Duration::from_millis(20);
/// How many bytes may wait; from then on lines are written at once, and wait for who reads them.
const MOST: usize = 1 << 20;

/// The log, for as long as the process lives that writes it; what waits is written when it is dropped.
#[must_use = "lines that wait are written when it is dropped"]
pub struct Log(Arc<Lines>);

/// What makes the writer of each line.
pub(crate) struct Writers {
    lines: Arc<Lines>,
    /// The module whose lines may wait.
    may_wait: &'static str,
}

/// Writes one line.
pub(crate) struct Line<'a> {
    lines: &'a Lines,
    may_wait: bool,
}

struct Lines {
    waiting: Mutex<Vec<u8>>,
    there: Condvar,
    output: Mutex<Box<dyn Write + Send>>,
}

impl Log {
    /// A log that goes there. The lines of a module may wait that are no more than information.
    pub(crate) fn begin(output: impl Write + Send + 'static, may_wait: &'static str) -> io::Result<(Self, Writers)> {
        let output = Mutex::new(Box::new(output) as Box<dyn Write + Send>);
        let lines = Arc::new(Lines { waiting: Mutex::default(), there: Condvar::new(), output });
        let these = Arc::clone(&lines);
        thread::Builder::new().name("log".to_owned()).spawn(move || these.keep_writing())?;
        Ok((Self(Arc::clone(&lines)), Writers { lines, may_wait }))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.write_all();
    }
}

impl Lines {
    fn keep_writing(&self) {
        loop {
            let waiting = self.there.wait_while(lock(&self.waiting), |waiting| waiting.is_empty());
            drop(waiting.unwrap_or_else(PoisonError::into_inner));
            thread::sleep(PAUSE);
            self.write_all();
        }
    }

    fn push(&self, line: &[u8], may_wait: bool) {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(line);
        let is_full = waiting.len() > MOST;
        drop(waiting);
        match may_wait && !is_full {
            true if is_first => self.there.notify_one(),
            true => {}
            false => self.write_all(),
        }
    }

    /// Writes what waits. Who writes keeps others from it, so that lines stay in order.
    fn write_all(&self) {
        let mut output = lock(&self.output);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        // There is nobody left to tell.
        let _ = output.write_all(&waiting).and_then(|()| output.flush());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> MakeWriter<'a> for Writers {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: &self.lines, may_wait: false }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        let may_wait = *meta.level() >= Level::INFO && meta.target() == self.may_wait;
        Line { lines: &self.lines, may_wait }
    }
}

/// It is given whole lines.
impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.may_wait);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    struct Told(mpsc::Sender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            if !lines.is_empty() {
                self.0.send(lines.to_vec()).unwrap();
            }
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_in_order_and_none_is_lost() {
        let (sender, told) = mpsc::channel();
        let (log, Writers { lines, .. }) = Log::begin(Told(sender), "requests").unwrap();
        let say = |line: &str, may_wait| lines.push(line.as_bytes(), may_wait);
        let wait = || String::from_utf8(told.recv_timeout(Duration::from_secs(10)).unwrap()).unwrap();
        say("waits for nobody\n", true);
        assert_eq!(wait(), "waits for nobody\n");

        say("one\n", true);
        say("two\n", true);
        say("at once\n", false);
        let mut said = wait();
        while !said.ends_with("at once\n") {
            said += &wait();
        }
        assert_eq!(said, "one\ntwo\nat once\n");

        say("at the end\n", true);
        drop(log);
        assert_eq!(wait(), "at the end\n");
    }
}
