//! An animated GIF from pictures of the page. It holds of each picture only what changed since the one before.

use std::time::Duration;

use anyhow::ensure;
use gif::{Encoder, Frame, Repeat};

/// How carefully colours are chosen: 1 is best and slowest, 30 is fastest.
const QUANTISER_SPEED: i32 = 10;

const BYTES_PER_PIXEL: usize = 4;

/// An animation that is being made.
pub(crate) struct Animation {
    width: usize,
    height: usize,
    encoder: Encoder<Vec<u8>>,
    /// The newest picture, and when it was taken. Its frame is written when it is known for how long it is shown.
    newest: Option<(Vec<u8>, Duration)>,
    /// The frame of the newest picture.
    frame: Option<Frame<'static>>,
}

impl Animation {
    /// An animation of `size` that repeats for ever.
    pub(crate) fn new((width, height): (u32, u32)) -> anyhow::Result<Self> {
        let mut encoder = Encoder::new(Vec::new(), u16::try_from(width)?, u16::try_from(height)?, &[])?;
        encoder.set_repeat(Repeat::Infinite)?;
        Ok(Self {
            width: usize::try_from(width)?,
            height: usize::try_from(height)?,
            encoder,
            newest: None,
            frame: None,
        })
    }

    /// Adds a picture of the page, a PNG that was taken at `at`.
    pub(crate) fn add(&mut self, picture: &[u8], at: Duration) -> anyhow::Result<()> {
        let pixels = self.decode(picture)?;
        let frame = match &self.newest {
            None => Some(self.frame(&pixels, 0, 0, self.width, self.height)?),
            Some((before, _)) => self.changed(before, &pixels)?,
        };
        if let Some(frame) = frame {
            self.write_frame(at)?;
            self.frame = Some(frame);
            self.newest = Some((pixels, at));
        }
        Ok(())
    }

    /// The file. The last picture is shown until `end`, and a while longer.
    pub(crate) fn finish(mut self, end: Duration) -> anyhow::Result<Vec<u8>> {
        self.write_frame(end + Duration::from_secs(1))?;
        Ok(self.encoder.into_inner()?)
    }

    /// Writes the newest picture's frame, which is shown until `until`.
    fn write_frame(&mut self, until: Duration) -> anyhow::Result<()> {
        if let (Some(mut frame), Some((_, since))) = (self.frame.take(), &self.newest) {
            // In hundredths of a second; rounding both ends keeps the whole animation's length.
            let hundredths = |at: Duration| at.as_millis() / 10;
            frame.delay = u16::try_from(hundredths(until) - hundredths(*since))?;
            self.encoder.write_frame(&frame)?;
        }
        Ok(())
    }

    /// What differs from the picture before, as a frame; `None` if nothing does.
    fn changed(&self, before: &[u8], pixels: &[u8]) -> anyhow::Result<Option<Frame<'static>>> {
        let is_changed = |at: usize| before[at..at + BYTES_PER_PIXEL] != pixels[at..at + BYTES_PER_PIXEL];
        let offset = |x: usize, y: usize| (y * self.width + x) * BYTES_PER_PIXEL;
        let rows = || (0..self.height).filter(|&y| (0..self.width).any(|x| is_changed(offset(x, y))));
        let columns = || (0..self.width).filter(|&x| (0..self.height).any(|y| is_changed(offset(x, y))));
        let (Some(top), Some(bottom), Some(left), Some(right)) =
            (rows().next(), rows().next_back(), columns().next(), columns().next_back())
        else {
            return Ok(None);
        };
        let mut changed = pixels.to_vec();
        for at in (0..changed.len()).step_by(BYTES_PER_PIXEL).filter(|&at| !is_changed(at)) {
            changed[at..at + BYTES_PER_PIXEL].fill(0);
        }
        self.frame(&changed, left, top, right - left + 1, bottom - top + 1).map(Some)
    }

    /// A part of a picture as a frame.
    fn frame(
        &self,
        pixels: &[u8],
        left: usize,
        top: usize,
        width: usize,
        height: usize,
    ) -> anyhow::Result<Frame<'static>> {
        let row = |y: usize| {
            let start = (y * self.width + left) * BYTES_PER_PIXEL;
            &pixels[start..start + width * BYTES_PER_PIXEL]
        };
        let mut part: Vec<u8> = (top..top + height).flat_map(row).copied().collect();
        let (width, height) = (u16::try_from(width)?, u16::try_from(height)?);
        let mut frame = Frame::from_rgba_speed(width, height, &mut part, QUANTISER_SPEED);
        (frame.left, frame.top) = (u16::try_from(left)?, u16::try_from(top)?);
        // What is transparent shows the picture before.
        frame.dispose = gif::DisposalMethod::Keep;
        Ok(frame)
    }

    /// The picture's pixels: red, green, blue and opacity of each.
    fn decode(&self, picture: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut decoder = png::Decoder::new(std::io::Cursor::new(picture));
        decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
        let mut reader = decoder.read_info()?;
        let size = self.width * self.height * BYTES_PER_PIXEL;
        let mut pixels = vec![0; size];
        ensure!(reader.output_buffer_size() == Some(size), "the picture has another size");
        reader.next_frame(&mut pixels)?;
        Ok(pixels)
    }
}
