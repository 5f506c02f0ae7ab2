// Loads the page's WebAssembly. If that fails, the person reads why instead of waiting for ever.

try {
  const { default: init } = await import('./web.js');
  await init({ module_or_path: './web_bg.wasm' });
} catch (error) {
  console.error(error);
  tell(
    'WebAssembly' in globalThis
      ? 'The page could not be loaded. Reload it to try again.'
      : 'This browser has no WebAssembly, which this page needs. Please use a newer one.',
    error,
  );
}

function tell(text, error) {
  const message = document.createElement('p');
  message.className = 'failed';
  message.setAttribute('role', 'alert');
  message.textContent = text;
  const details = document.createElement('small');
  details.textContent = String(error);
  message.append(document.createElement('br'), details);
  document.getElementById('page').replaceChildren(message);
}
