// Loads the page's WebAssembly. If that fails, the person reads why instead of waiting for ever.

try {
  const { default: init } = await import('./web.js');
  await init({ module_or_path: './web_bg.wasm' });
} catch (error) {
  console.error(error);
  tellFailure(
    'WebAssembly' in globalThis
      ? 'The page could not be loaded: a part of it is missing, blocked or damaged. Reload the page to try again.'
      : 'This browser has no WebAssembly, which this page needs. Please use a newer one.',
    'web.js and web_bg.wasm: ' + error.message,
  );
}
