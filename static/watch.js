// Tells the person when a script of the page cannot be loaded or does not run, instead of letting them wait for ever.
// Old JavaScript on purpose: it must run where the others do not.

(function () {
  'use strict';

  // Puts a message in the place of the page.
  window.tellFailure = function (text, details) {
    var place = document.getElementById('page');
    if (!place) {
      // The scripts failed before the page's element was there.
      document.addEventListener('DOMContentLoaded', function () {
        window.tellFailure(text, details);
      });
      return;
    }
    var message = document.createElement('p');
    message.className = 'failed';
    message.setAttribute('role', 'alert');
    message.appendChild(document.createTextNode(text));
    if (details) {
      var small = document.createElement('small');
      small.appendChild(document.createTextNode(details));
      message.appendChild(document.createElement('br'));
      message.appendChild(small);
    }
    place.textContent = '';
    place.appendChild(message);
  };

  window.addEventListener(
    'error',
    function (event) {
      // Once the replica is there, an error is no reason to take it away.
      if (!document.getElementById('loading') && document.readyState !== 'loading') {
        return;
      }
      var target = event.target;
      var isScript = target && target.tagName === 'SCRIPT';
      if (isScript || event.message) {
        window.tellFailure(
          'The page could not be loaded: one of its scripts is missing, blocked or damaged. Reload the page to try again.',
          isScript ? target.src : event.message,
        );
      }
    },
    true,
  );
})();
