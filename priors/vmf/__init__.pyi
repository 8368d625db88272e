from priors.vmf.bessel import log_normaliser as log_normaliser
from priors.vmf.bessel import mean_resultant_length as mean_resultant_length
from priors.vmf.distribution import HypersphericalUniform as HypersphericalUniform
from priors.vmf.distribution import VonMisesFisher as VonMisesFisher
from priors.vmf.sphere import slerp as slerp
